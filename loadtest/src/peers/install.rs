//! Getting peers from Debian's and npm's packages. Nothing in the system changes: packages are unpacked into a
//! directory of ours, and no service is set up or started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::peer::Peer;

const PACKAGE_JSON: &str = include_str!("../../peers/package.json");

/// Folders of the system's programs.
const SYSTEM: [&str; 4] = ["usr/sbin", "usr/bin", "usr/local/sbin", "usr/local/bin"];

/// Packages whose versions are reported.
const SERVERS: [&str; 5] = ["libnginx-mod-nchan", "mosquitto", "nats-server", "nginx", "redis-server"];

/// What is installed in a directory.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    dir: PathBuf,
}

/// Debian's packages for a peer, and the files that show that they are installed.
fn debian(peer: Peer) -> (&'static [&'static str], &'static [&'static str]) {
    match peer {
        Peer::Up | Peer::Bun | Peer::BunLibrary | Peer::Node => (&[], &[]),
        Peer::NodeRedis => (&["redis-server"], &["usr/bin/redis-server"]),
        Peer::Nchan => (
            &["nginx", "libnginx-mod-nchan"],
            &["usr/sbin/nginx", "usr/lib/nginx/modules/ngx_nchan_module.so"],
        ),
        Peer::Mosquitto => (&["mosquitto"], &["usr/sbin/mosquitto"]),
        Peer::Nats => (&["nats-server"], &["usr/sbin/nats-server"]),
    }
}

impl Installed {
    /// In `dir`, which is made if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let made = std::fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
        Ok(Self { dir: made.with_context(|| format!("cannot make {}", dir.display()))? })
    }

    /// Where npm's packages and the programs that use them are.
    pub(crate) fn npm(&self) -> PathBuf {
        self.dir.join("npm")
    }

    fn root(&self) -> PathBuf {
        self.dir.join("debian")
    }

    /// The path of a package's file: the unpacked one, or else the system's.
    ///
    /// # Errors
    /// It is in neither.
    pub(crate) fn file(&self, path: &str) -> Result<PathBuf> {
        let places = [self.root().join(path), Path::new("/").join(path)];
        places.into_iter().find(|path| path.exists()).with_context(|| format!("there is no {path}"))
    }

    /// A program of a package.
    ///
    /// # Errors
    /// It is not installed.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let found = SYSTEM.iter().find_map(|place| self.file(&format!("{place}/{name}")).ok());
        found.with_context(|| format!("{name} is not installed"))
    }

    /// The folders of unpacked libraries, as the loader expects them.
    pub(crate) fn libraries(&self) -> String {
        let architecture = format!("{}-linux-gnu", std::env::consts::ARCH);
        let places = [format!("usr/lib/{architecture}"), format!("lib/{architecture}")];
        places.map(|place| self.root().join(place).display().to_string()).join(":")
    }

    /// Installs what a peer needs, if it is not installed.
    ///
    /// # Errors
    /// It cannot be installed, for example without npm, apt or a network.
    pub(crate) fn ensure(&self, peer: Peer) -> Result<()> {
        if matches!(peer, Peer::Bun | Peer::BunLibrary | Peer::Node | Peer::NodeRedis) {
            self.ensure_npm()?;
        }
        let (packages, files) = debian(peer);
        if files.iter().any(|file| self.file(file).is_err()) {
            self.ensure_debian(packages)?;
            for file in files {
                self.file(file)?;
            }
        }
        Ok(())
    }

    /// What is installed here, with its version.
    pub(crate) fn versions(&self) -> Vec<String> {
        let manifest: Value = serde_json::from_str(PACKAGE_JSON).unwrap_or_default();
        let there = self.npm().join("package-lock.json").exists();
        let npm = manifest["dependencies"].as_object().filter(|_| there).into_iter().flatten();
        let npm = npm.filter_map(|(name, version)| Some(format!("{name} {}", version.as_str()?)));
        // Such as nginx_1.22.1-9+deb12u11_amd64.deb.
        let archives = std::fs::read_dir(self.dir.join("archives")).into_iter().flatten();
        let names = archives.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let debian = names.filter_map(|name| {
            let mut parts = name.strip_suffix(".deb")?.split('_');
            let (package, version) = (parts.next()?, parts.next()?);
            SERVERS.contains(&package).then(|| format!("{package} {}", version.replace("%3a", ":")))
        });
        let node = Command::new("node").arg("--version").output().ok();
        let node = node.map(|told| format!("node {}", String::from_utf8_lossy(&told.stdout).trim()));
        let mut all: Vec<String> = npm.chain(debian).chain(node).collect();
        all.sort();
        all
    }

    fn ensure_npm(&self) -> Result<()> {
        let (npm, lock) = (self.npm(), self.npm().join("package-lock.json"));
        let manifest = npm.join("package.json");
        let same = std::fs::read_to_string(&manifest).is_ok_and(|text| text == PACKAGE_JSON);
        if same && lock.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&npm).and_then(|()| std::fs::write(&manifest, PACKAGE_JSON))?;
        let mut install = Command::new("npm");
        // A script of Bun's package puts the program into its place.
        install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts=false"]).current_dir(&npm);
        run(&mut install).context("npm cannot install the peers' packages")
    }

    fn ensure_debian(&self, packages: &[&str]) -> Result<()> {
        let archives = self.dir.join("archives");
        std::fs::create_dir_all(archives.join("partial"))?;
        let mut download = Command::new("apt-get");
        download.args(["install", "--yes", "--no-install-recommends", "--download-only"]);
        download.arg("-oDebug::NoLocking=1").arg(format!("-oDir::Cache::archives={}", archives.display()));
        download.args(packages);
        run(&mut download).context("apt-get cannot download it; perhaps `apt-get update` is due")?;
        for entry in std::fs::read_dir(&archives)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                run(unpack.arg("--extract").arg(&path).arg(self.root()))?;
            }
        }
        Ok(())
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        bail!("{name} fails: {last}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_comes_before_the_systems_and_what_is_missing_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let installed = Installed::new(directory.path()).unwrap();
        assert_eq!(installed.program("env").unwrap(), Path::new("/usr/bin/env"));
        let own = installed.root().join("usr/bin");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("env"), "").unwrap();
        assert_eq!(installed.program("env").unwrap(), own.join("env"));
        assert!(installed.program("no-such-server").unwrap_err().to_string().contains("no-such-server"));
        let archives = directory.path().join("archives");
        std::fs::create_dir(&archives).unwrap();
        for name in ["redis-server_5%3a7.0.15-1_amd64.deb", "liblzf1_3.6-3_amd64.deb"] {
            std::fs::write(archives.join(name), "").unwrap();
        }
        let versions = installed.versions();
        assert!(versions.contains(&"redis-server 5:7.0.15-1".to_owned()), "{versions:?}");
        assert!(!versions.iter().any(|version| version.starts_with("liblzf1")));
        let error = run(Command::new("sh").args(["-c", "echo no room >&2; exit 1"])).unwrap_err();
        assert!(error.to_string().contains("no room"));
    }
}
