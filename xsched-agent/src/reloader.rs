//! The configuration in force, and how it changes while the agent runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tracing::{error, info, warn};
use xsched_common::api::{EventKind, ModeSet, Reloaded, SharingMode};
use xsched_common::units::PciAddress;
use xsched_policy::Settings;

use crate::attr::AttrHandle;
use crate::config::{self, AgentOverrides, AgentSettings, Checked, Config, ConfigError, Effective};
use crate::control::{ControlHandle, Passthrough};
use crate::events::{Event, EventLog};

/// Which file, and what the command line says over it.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file.
    pub path: PathBuf,
    /// Whether the agent needs it.
    pub presence: Presence,
    /// In place of the file's, if any.
    pub passthrough: Option<Passthrough>,
    /// As above, key by key.
    pub agent: AgentOverrides,
}

/// Whether a file has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Somebody named it.
    Required,
    /// It is where files of its kind are.
    Optional,
}

impl Sources {
    /// The keys that the command line gives, as the file has them.
    pub fn command_line(&self) -> Vec<String> {
        let agent = self.agent.keys().into_iter();
        let passthrough = self.passthrough.is_some().then_some("passthrough");
        agent.chain(passthrough).map(str::to_owned).collect()
    }

    /// What an agent with these would go by.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn effective(&self) -> Result<Effective, ConfigError> {
        Ok(Effective {
            command_line: self.command_line(),
            ..self.load()?.effective()
        })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is wrong, or not there although it must be.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let Checked {
            mut config,
            warnings,
        } = match self.presence {
            Presence::Required => config::load(&self.path),
            Presence::Optional => config::load_if_there(&self.path),
        }?;
        for warning in warnings {
            warn!("{}:{warning}", self.path.display());
        }
        if let Some(passthrough) = &self.passthrough {
            config.passthrough = passthrough.clone();
        }
        config.agent = self.agent.over(&config.agent);
        Ok(config)
    }
}

/// The configuration in force; cheap to clone.
#[derive(Clone)]
pub struct Reloader {
    inner: Arc<Inner>,
}

struct Inner {
    sources: Sources,
    /// As the agent was started.
    agent: AgentSettings,
    control: ControlHandle,
    attr: AttrHandle,
    events: EventLog,
    state: Mutex<State>,
    /// One reload after the other.
    reloading: tokio::sync::Mutex<()>,
}

struct State {
    config: Arc<Config>,
    /// With modes set by hand.
    sharing: Settings,
}

/// Nothing was reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is bad; what was in force still is.
    #[error(transparent)]
    Bad(#[from] ConfigError),
    /// The agent stops.
    #[error("the agent is stopping: try again when it runs")]
    Stopping,
}

impl Reloader {
    /// `config` is in force everywhere already.
    pub fn new(
        sources: Sources,
        config: Arc<Config>,
        control: ControlHandle,
        attr: AttrHandle,
        events: EventLog,
    ) -> Reloader {
        let sharing = config.sharing.clone();
        Reloader {
            inner: Arc::new(Inner {
                sources,
                agent: config.agent.clone(),
                control,
                attr,
                events,
                state: Mutex::new(State { config, sharing }),
                reloading: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// The group whose members may do what root may.
    pub fn authorised_group(&self) -> Option<u32> {
        self.state().config.authorised_group
    }

    /// How devices are shared now.
    pub fn sharing(&self) -> Settings {
        self.state().sharing.clone()
    }

    /// What is in force now: by the file, by the command line, and by hand.
    pub fn effective(&self) -> Effective {
        let config = {
            let state = self.state();
            Config {
                agent: self.inner.agent.clone(),
                sharing: state.sharing.clone(),
                ..Config::clone(&state.config)
            }
        };
        Effective {
            command_line: self.inner.sources.command_line(),
            ..config.effective()
        }
    }

    /// Reads the file again and applies it. Modes set by hand give way to the
    /// file's; what `[agent]` says holds from the next start.
    ///
    /// # Errors
    /// The file is bad: nothing has changed then.
    pub async fn reload(&self, actor: &str) -> Result<Reloaded, ReloadError> {
        let _one_by_one = self.inner.reloading.lock().await;
        let sources = self.inner.sources.clone();
        // Files and users' names may come over a network.
        let loaded = tokio::task::spawn_blocking(move || sources.load()).await;
        let config = match loaded {
            Ok(Ok(config)) => Arc::new(config),
            Ok(Err(e)) => {
                error!("the configuration stays as it was ({actor}): {e}");
                self.note(format!("not reloaded: {e}"), actor);
                return Err(e.into());
            }
            Err(_) => return Err(ReloadError::Stopping),
        };
        {
            let mut state = self.state();
            state.config = config.clone();
            state.sharing = config.sharing.clone();
        }
        self.inner.control.configure(config.sharing.clone());
        self.inner.control.pass_through(config.passthrough.clone());
        let (tell, told) = oneshot::channel();
        self.inner.attr.configure(config.clone(), move |changed| {
            let _ = tell.send(changed);
        });
        let changed = told.await.map_err(|_| ReloadError::Stopping)?;
        let reloaded = Reloaded {
            path: config.path.as_ref().map(|path| path.display().to_string()),
            rules: config.rules.len() as u32,
            changed,
            needs_restart: {
                let keys = self.inner.agent.differences(&config.agent);
                keys.into_iter().map(str::to_owned).collect()
            },
        };
        let from = reloaded
            .path
            .as_deref()
            .unwrap_or("no file, so the defaults");
        let mut text = format!(
            "reloaded {from}: {} rules, attributes of {changed} processes changed",
            reloaded.rules
        );
        if !reloaded.needs_restart.is_empty() {
            text += &format!(
                "; restart the agent for [agent] {}",
                reloaded.needs_restart.join(", ")
            );
        }
        info!("{text} ({actor})");
        self.note(text, actor);
        Ok(reloaded)
    }

    /// Shares a device, or all, in another mode until the next reload.
    pub fn set_mode(&self, device: Option<PciAddress>, mode: SharingMode) -> ModeSet {
        let sharing = {
            let mut state = self.state();
            match device {
                Some(address) => {
                    let mut settings = *state.sharing.of(Some(address));
                    settings.mode = mode;
                    state.sharing.devices.insert(address, settings);
                }
                None => {
                    let all = &mut state.sharing;
                    all.default.mode = mode;
                    all.devices
                        .values_mut()
                        .for_each(|device| device.mode = mode);
                }
            }
            state.sharing.clone()
        };
        self.inner.control.configure(sharing);
        ModeSet {
            device: device.map(|address| address.to_string()),
            mode,
        }
    }

    fn note(&self, text: String, actor: &str) {
        let event = Event::new(EventKind::Configuration, text).by(actor);
        self.inner.events.note(event);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every statement.
        let state = self.inner.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}
