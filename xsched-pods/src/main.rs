//! Tells xsched-agent the pods of its node.
//!
//! A program of its own, without rights on the machine: what talks TLS to the
//! network is not the root daemon. It writes a list to a file, which the agent
//! reads; either may be started, stopped or missing at any time.

mod list;
mod watch;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tracing_subscriber::EnvFilter;

/// Writes the pods of this node to a file for xsched-agent.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        xsched-pods --node \"$(hostname)\" --kubeconfig /etc/kubernetes/kubelet.conf\n  \
        NODE_NAME=gpu1 xsched-pods --out /run/xsched-pods/pods.json\n\n\
        In a pod it uses the service account; it may get, list and watch pods \
        (deploy/kubernetes)."
)]
struct Cli {
    /// The node whose pods are wanted, as the API server calls it
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: String,
    /// The list; its folder must be there, and only this program should write
    /// in it
    #[arg(
        long,
        default_value = "/run/xsched-pods/pods.json",
        value_name = "FILE"
    )]
    out: PathBuf,
    /// How to reach the API server [default: the pod's service account, else
    /// $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // What the client says of each failure is said once, by the watch.
    let filter = EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info,kube_client=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xsched-pods: {e:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let config = match &cli.kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use {}", file.display()))?
        }
        None => match Config::incluster() {
            Ok(config) => config,
            Err(_) => Config::infer().await.context(
                "no way to the API server: run it in a pod with a service account, or name a \
                 file with --kubeconfig",
            )?,
        },
    };
    let client = Client::try_from(config).context("cannot set up the connection")?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        ended = watch::run(client, &cli.node, &cli.out) => ended,
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
