//! A Slurm cluster on this machine, out of Debian's packages in a folder: munged, MariaDB and slurmdbd (quality of
//! service takes the database), slurmctld, and two slurmd. It ends with its owner.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::build::{self, target};
use crate::child::ends_within;
use crate::debian::{self, Debian};
use crate::progress::note;

/// Whose slurmd 22.05 runs several times on one host.
const SUITE: &str = "bookworm";

/// What is unpacked: the programs, and the libraries that a small Debian has not.
const PACKAGES: [&str; 12] = [
    "munge",
    "libmunge2",
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "slurm-wlm-basic-plugins",
    "slurm-wlm-mysql-plugin",
    "libhwloc15",
    "liblua5.1-0",
    "libmariadb3",
    "mariadb-server-core",
];

/// Each of the nodes, all of them this machine.
pub const NODES: [&str; 2] = ["xschedn1", "xschedn2"];

/// As whom jobs run: nobody, of group nogroup.
const USER: u32 = 65_534;

const STARTING: Duration = Duration::from_secs(60);

/// A running cluster.
pub struct Cluster {
    packages: PathBuf,
    dir: PathBuf,
    daemons: Vec<(String, Child)>,
    /// The database's, and those of Slurm's daemons.
    ports: [u16; 5],
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.client("scancel").args(["--user", "nobody"]).output();
        // Those that came last first; Slurm's ends its steps.
        for (_, daemon) in self.daemons.iter_mut().rev() {
            let pid = rustix::process::Pid::from_raw(daemon.id().cast_signed());
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            if ends_within(daemon, Duration::from_secs(10)).is_ok_and(|ended| ended.is_none()) {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
        }
        remove_groups();
    }
}

/// Slurm leaves its control groups of version 1 when the last step has gone.
fn remove_groups() {
    let Ok(controllers) = fs::read_dir("/sys/fs/cgroup") else {
        return;
    };
    for controller in controllers.filter_map(Result::ok) {
        for node in NODES {
            remove_tree(&controller.path().join(format!("slurm_{node}")));
        }
    }
}

fn remove_tree(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

impl Cluster {
    /// Starts all daemons in `dir`, which users can reach; `scripts` has the prolog and its like.
    pub fn start(dir: &Path, scripts: &Path) -> anyhow::Result<Cluster> {
        let packages = unpacked()?;
        let mut cluster = Cluster {
            packages,
            dir: dir.to_owned(),
            daemons: Vec::new(),
            ports: ports()?,
        };
        cluster.configure(scripts)?;
        note("starting munge, MariaDB and Slurm");
        cluster.start_munge()?;
        cluster.start_database()?;
        cluster.start_accounting()?;
        cluster.start_slurm()?;
        Ok(cluster)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A program of the packages, on its own libraries.
    fn program(&self, path: &str) -> Command {
        self.at_home(&self.packages.join(path))
    }

    fn at_home(&self, program: &Path) -> Command {
        let libraries = self.packages.join("usr/lib/x86_64-linux-gnu");
        let plugins = libraries.join("slurm-wlm");
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.packages.join("usr/bin").display()),
            )
            .env(
                "LD_LIBRARY_PATH",
                format!("{}:{}", libraries.display(), plugins.display()),
            )
            .env("SLURM_CONF", self.file("slurm.conf"))
            .stdin(Stdio::null());
        command
    }

    /// A client's command, as root.
    pub fn client(&self, name: &str) -> Command {
        self.program(&format!("usr/bin/{name}"))
    }

    /// The same as the jobs' user.
    pub fn as_user(&self, name: &str) -> Command {
        let user = USER.to_string();
        let mut command = self.at_home(Path::new("setpriv"));
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.arg(self.packages.join("usr/bin").join(name));
        command
    }

    fn daemon(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let log = fs::File::create(self.file(&format!("{name}.log")))?;
        command.stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.daemons.push((name.to_owned(), child));
        Ok(())
    }

    /// Waits until something is so; a daemon that ends meanwhile is told with its log.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Cluster) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + STARTING;
        while !is_so(self) {
            for (name, daemon) in &mut self.daemons {
                if let Some(status) = daemon.try_wait()? {
                    let log = fs::read_to_string(self.dir.join(format!("{name}.log")))?;
                    let end: Vec<&str> = log.lines().rev().take(8).collect();
                    bail!("{name} has ended ({status}): {}", end.join("; "));
                }
            }
            ensure!(
                Instant::now() < deadline,
                "{what} takes more than {STARTING:?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn start_munge(&mut self) -> anyhow::Result<()> {
        let key = self.file("munge.key");
        let mut random = vec![0u8; 128];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
        fs::write(&key, random)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        let mut munged = self.program("usr/sbin/munged");
        munged
            .args(["--foreground", "--force", "--key-file"])
            .arg(key);
        munged.arg("--socket").arg(self.file("munge.sock"));
        munged.arg("--pid-file").arg(self.file("munge.pid"));
        munged.arg("--log-file").arg(self.file("munged.own.log"));
        munged.arg("--seed-file").arg(self.file("munge.seed"));
        self.daemon("munged", &mut munged)?;
        self.until("munge", |cluster| cluster.file("munge.sock").exists())
    }

    fn mariadbd(&self) -> Command {
        let usr = self.packages.join("usr");
        let mut mariadbd = self.program("usr/sbin/mariadbd");
        mariadbd.args(["--no-defaults", "--user=root", "--skip-grant-tables"]);
        mariadbd.arg(format!("--datadir={}", self.file("db").display()));
        mariadbd.arg(format!("--basedir={}", usr.display()));
        mariadbd.arg(format!(
            "--lc-messages-dir={}",
            usr.join("share/mysql").display()
        ));
        mariadbd.arg("--innodb-buffer-pool-size=32M");
        mariadbd
    }

    fn start_database(&mut self) -> anyhow::Result<()> {
        // Slurm's procedures need the system's tables.
        fs::create_dir_all(self.file("db/mysql"))?;
        let tables = self
            .packages
            .join("usr/share/mysql/mysql_system_tables.sql");
        let boot = self.file("boot.sql");
        fs::write(
            &boot,
            format!("use mysql;\n{}", fs::read_to_string(tables)?),
        )?;
        let mut bootstrap = self.mariadbd();
        bootstrap.arg("--bootstrap").stdin(fs::File::open(boot)?);
        let out = bootstrap.output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "cannot make the database: {said}");
        let mut mariadbd = self.mariadbd();
        mariadbd.arg("--bind-address=127.0.0.1");
        mariadbd.arg(format!("--port={}", self.ports[0]));
        mariadbd.arg(format!("--socket={}", self.file("db.sock").display()));
        mariadbd.arg(format!("--pid-file={}", self.file("db.pid").display()));
        self.daemon("mariadbd", &mut mariadbd)?;
        self.until("the database", |cluster| cluster.file("db.sock").exists())
    }

    fn start_accounting(&mut self) -> anyhow::Result<()> {
        let mut slurmdbd = self.program("usr/sbin/slurmdbd");
        slurmdbd.arg("-D");
        self.daemon("slurmdbd", &mut slurmdbd)?;
        let added = |cluster: &Cluster, what: &[&str]| {
            let mut sacctmgr = cluster.client("sacctmgr");
            let out = sacctmgr.args(["--immediate", "add"]).args(what).output();
            out.is_ok_and(|out| out.status.success())
        };
        self.until("the accounting", |cluster| {
            added(cluster, &["cluster", "xsched"])
        })?;
        for what in [
            &["account", "ml"][..],
            &["qos", "low,high"],
            &["user", "nobody", "account=ml", "qos=low,high,normal"],
        ] {
            ensure!(added(self, what), "sacctmgr add {what:?} failed");
        }
        Ok(())
    }

    fn start_slurm(&mut self) -> anyhow::Result<()> {
        // Debian's names end in -wlm, and the daemons know themselves by name.
        let bin = self.file("sbin");
        fs::create_dir_all(&bin)?;
        for name in ["slurmctld", "slurmd", "slurmstepd"] {
            let program = self.packages.join(format!("usr/sbin/{name}-wlm"));
            symlink(program, bin.join(name))?;
        }
        let mut slurmctld = self.at_home(&bin.join("slurmctld"));
        self.daemon("slurmctld", slurmctld.arg("-D"))?;
        for node in NODES {
            let mut slurmd = self.at_home(&bin.join("slurmd"));
            slurmd
                .args(["-D", "-N", node, "-d"])
                .arg(bin.join("slurmstepd"));
            self.daemon(&format!("slurmd-{node}"), &mut slurmd)?;
        }
        self.until("the nodes", |cluster| {
            let idle = cluster
                .client("sinfo")
                .args(["--noheader", "--format=%t %D"])
                .output();
            idle.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).trim() == "idle 2")
        })
    }

    fn configure(&self, scripts: &Path) -> anyhow::Result<()> {
        let plugins = self.packages.join("usr/lib/x86_64-linux-gnu/slurm-wlm");
        let [database, dbd, ctld, first, second] = self.ports;
        let (dir, plugins, scripts) = (self.dir.display(), plugins.display(), scripts.display());
        let slurmdbd = format!(
            "AuthType=auth/munge\nAuthInfo=socket={dir}/munge.sock\nDbdHost=localhost\nDbdPort={dbd}\n\
             SlurmUser=root\nStorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\n\
             StorageUser=root\nStorageLoc=slurm\nStoragePort={database}\n\
             PluginDir={plugins}\nPidFile={dir}/slurmdbd.pid\n"
        );
        let file = self.file("slurmdbd.conf");
        fs::write(&file, slurmdbd)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let nodes: String = NODES
            .iter()
            .zip([first, second])
            .map(|(node, port)| {
                format!(
                    "NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2\n"
                )
            })
            .collect();
        let slurm = format!(
            "ClusterName=xsched\nSlurmctldHost=localhost\nSlurmctldPort={ctld}\nSlurmUser=root\n\
             SlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={dir}/munge.sock\n\
             PluginDir={plugins}\nStateSaveLocation={dir}/state\nSlurmdSpoolDir={dir}/spool-%n\n\
             SlurmctldPidFile={dir}/slurmctld.pid\nSlurmdPidFile={dir}/slurmd-%n.pid\n\
             AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=localhost\n\
             AccountingStoragePort={dbd}\nAccountingStoragePass={dir}/munge.sock\n\
             AccountingStorageEnforce=associations,qos\nProctrackType=proctrack/cgroup\n\
             TaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\n\
             MpiDefault=none\nSchedulerParameters=sched_interval=1,batch_sched_delay=0\n\
             PrologFlags=Alloc\nProlog={scripts}/prolog.sh\nEpilog={scripts}/epilog.sh\n\
             TaskProlog={scripts}/task-prolog.sh\n{nodes}\
             PartitionName=gpu Nodes={} Default=YES OverSubscribe=FORCE:4 State=UP\n",
            NODES.join(",")
        );
        fs::write(self.file("slurm.conf"), slurm)?;
        fs::write(
            self.file("cgroup.conf"),
            "CgroupPlugin=autodetect\nCgroupMountpoint=/sys/fs/cgroup\nCgroupAutomount=no\n",
        )?;
        fs::create_dir_all(self.file("state"))?;
        Ok(())
    }

    /// Submits a script as the jobs' user; the job's number.
    pub fn submit(&self, options: &[&str], script: &Path, output: &Path) -> anyhow::Result<u32> {
        let mut sbatch = self.as_user("sbatch");
        sbatch.args(["--parsable", "--export=NONE", "--account=ml", "--ntasks=1"]);
        sbatch.args(options).arg("--output").arg(output);
        let out = sbatch.arg(script).output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(
            out.status.success(),
            "sbatch {options:?} failed: {}",
            said.trim()
        );
        let id = String::from_utf8_lossy(&out.stdout);
        id.trim()
            .parse()
            .with_context(|| format!("sbatch said {id:?}"))
    }

    /// Waits for a job's end.
    pub fn wait(&mut self, job: u32, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        self.until("a job", |cluster| {
            let mut squeue = cluster.client("squeue");
            let job = job.to_string();
            let out = squeue
                .args(["--noheader", "--format=%T", "--job", &job])
                .output();
            // A job that is forgotten is an error.
            out.is_ok_and(|out| {
                let state = String::from_utf8_lossy(&out.stdout);
                !["PENDING", "RUNNING", "COMPLETING"].contains(&state.trim())
            }) || Instant::now() > deadline
        })
    }
}

/// What Slurm's clients need where they are unpacked: a line of a script.
pub fn environment() -> anyhow::Result<String> {
    let packages = unpacked()?;
    let libraries = packages.join("usr/lib/x86_64-linux-gnu");
    Ok(format!(
        "export PATH={}:/usr/bin:/bin LD_LIBRARY_PATH={}:{}",
        packages.join("usr/bin").display(),
        libraries.display(),
        libraries.join("slurm-wlm").display()
    ))
}

/// Ports that are free now.
fn ports() -> anyhow::Result<[u16; 5]> {
    let mut listeners = Vec::new();
    for _ in 0..5 {
        listeners.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let mut ports = [0; 5];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// The folder of the packages, filled once.
fn unpacked() -> anyhow::Result<PathBuf> {
    let dir = target().join("fleet");
    let folder = dir.join("slurm");
    fs::create_dir_all(&dir)?;
    let _lock = debian::lock(&dir.join("slurm.lock"))?;
    if folder.exists() {
        return Ok(folder);
    }
    let debian = Debian::open(&dir.join("debian"), &[SUITE], &[SUITE])?;
    let fresh = dir.join("slurm.new");
    let _ = fs::remove_dir_all(&fresh);
    let debs = dir.join("debian/debs");
    note("downloading Slurm, munge and MariaDB (20 MB)");
    for package in PACKAGES {
        let mut download = debian.apt("apt-get");
        download
            .args(["download", "-q", package])
            .current_dir(&debs);
        let out = download.output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(
            out.status.success(),
            "cannot download {package}: {}",
            said.trim()
        );
    }
    for deb in fs::read_dir(&debs)? {
        let mut unpack = Command::new("dpkg-deb");
        build::run(unpack.arg("--extract").arg(deb?.path()).arg(&fresh))?;
    }
    fs::remove_dir_all(&debs)?;
    fs::rename(&fresh, &folder)?;
    Ok(folder)
}
