//! `soundoff secret …`: each role's keys, and replacing the root.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use soundoff_common::protocol::{now_ms, rfc3339};
use soundoff_common::web::secret::roots::{Roots, State};
use soundoff_common::{note, tell};
use soundoff_users::{LASTS_MS, Resealed};

use super::Ask;
use super::cli::ask;
use crate::config::{At, SecretCommand};
use crate::datadir;

/// What [`Ask::Reseal`] answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    /// The generation of the secret that the answering process uses.
    pub(crate) generation: String,
    #[serde(flatten)]
    pub(crate) done: Resealed,
}

/// After how many users a pass says how far it is.
const TOLD_EVERY: u64 = 10_000;

/// The file with the roots, which this command alone may change.
struct RootFile {
    path: PathBuf,
    roots: Roots,
    /// Its directory, locked while this value lives: of two commands at once, one would lose the other's root.
    _lock: File,
}

impl RootFile {
    fn open(at: &At) -> anyhow::Result<Self> {
        let why = "the root is changed in its file: name it with --secret-file";
        let path = match (&at.engines.secret.secret_file, at.aws) {
            (Some(path), _) => path.clone(),
            (None, true) => anyhow::bail!("{why}"),
            (None, false) => at.data.join(datadir::SECRET_FILE),
        };
        let lock = File::open(directory(&path)).with_context(|| format!("cannot open {}", path.display()))?;
        let locked = lock.try_lock();
        locked.map_err(|_| anyhow::anyhow!("another command is changing {}", path.display()))?;
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let not_root = text.starts_with(b"so_role_");
        anyhow::ensure!(!not_root, "{} holds the keys of a role; this needs the root", path.display());
        let roots = Roots::read(&text).with_context(|| format!("the secret in {}", path.display()))?;
        Ok(Self { path, roots, _lock: lock })
    }

    /// Stores what has changed: the file is as before or whole, whenever the machine stops.
    fn store(&self) -> anyhow::Result<()> {
        let directory = directory(&self.path);
        let name = self.path.file_name().context("a file has a name")?;
        let fresh = directory.join(format!(".{}.new", name.to_string_lossy()));
        let stored = || -> std::io::Result<()> {
            let _ = std::fs::remove_file(&fresh);
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(self.roots.text().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, &self.path)?;
            File::open(directory)?.sync_all()
        };
        stored().with_context(|| format!("cannot store the secret in {}", self.path.display()))
    }

    /// The name of the root in use.
    fn in_use(&self) -> anyhow::Result<String> {
        Ok(self.roots.secret()?.generations().swap_remove(0))
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Runs one of the commands.
pub(crate) async fn run(command: SecretCommand) -> anyhow::Result<()> {
    match command {
        SecretCommand::Derive { role, secret } => {
            let secret = secret.read()?;
            anyhow::ensure!(
                secret.is_root(),
                "this secret holds the keys of one role: deriving others needs the root"
            );
            tell!("{}", secret.derive(role)?);
            Ok(())
        }
        SecretCommand::Rotate { at } => rotate(&at).await,
        SecretCommand::Use { at } => use_newest(&at).await,
        SecretCommand::Reseal { at } => reseal(&at).await,
        SecretCommand::Retire { at_once, at } => retire(&at, at_once).await,
        SecretCommand::Show { at } => show(&at),
    }
}

async fn rotate(at: &At) -> anyhow::Result<()> {
    let mut file = RootFile::open(at)?;
    file.roots.add(rand::random(), now_ms(), at.aws)?;
    file.store()?;
    record(at, if at.aws { "announced" } else { "rotated" }).await;
    if at.aws {
        tell!("a new root is announced in {}", file.path.display());
        tell!("derive each role's keys again, restart all processes, then run `soundoff secret use --aws`");
    } else {
        tell!(
            "there is a new root in {}; keep a copy of the file where the data is not",
            file.path.display()
        );
        tell!("restart `soundoff up`, then run `soundoff secret reseal` and `soundoff secret retire`");
    }
    Ok(())
}

async fn use_newest(at: &At) -> anyhow::Result<()> {
    let mut file = RootFile::open(at)?;
    file.roots.use_newest(now_ms())?;
    file.store()?;
    record(at, "used").await;
    tell!("the root {} is in use", file.in_use()?);
    tell!("derive each role's keys again, restart all processes, then run `soundoff secret reseal --aws`");
    Ok(())
}

fn show(at: &At) -> anyhow::Result<()> {
    for (name, state, since) in RootFile::open(at)?.roots.states()? {
        let stands = match state {
            State::Announced => "announced",
            State::InUse => "in use",
            State::Former => "former",
        };
        let since = if since == 0 { "the beginning".to_owned() } else { rfc3339(since) };
        tell!("{name}  {stands:<9}  since {since}");
    }
    Ok(())
}

/// Tells the audit trail what was done. It is done, whether that can be told or not.
async fn record(at: &At, what: &str) {
    if let Err(error) = ask(at, Ask::SecretRotated { what: what.to_owned() }).await {
        note!("the audit trail does not know of it: {error:#}");
    }
}

/// Looks at all that is stored, and moves it unless it is `only_count`ed.
async fn pass(at: &At, file: &RootFile, only_count: bool) -> anyhow::Result<Resealed> {
    let (mut total, mut after, mut told) = (Resealed::default(), None, 0);
    loop {
        let answer = ask(at, Ask::Reseal { after, only_count }).await?;
        let Page { generation, done } =
            serde_json::from_value(answer).context("an answer of another version")?;
        anyhow::ensure!(
            generation == file.in_use()?,
            "the process uses the root {generation} and not the one in use in {}: restart it first",
            file.path.display()
        );
        total.users += done.users;
        total.moved += done.moved;
        total.identities += done.identities;
        total.token_keys += done.token_keys;
        after = done.next;
        if after.is_none() {
            return Ok(total);
        }
        if total.users / TOLD_EVERY > told {
            told = total.users / TOLD_EVERY;
            note!("{} users looked at, {} values sealed again", total.users, total.moved);
        }
    }
}

async fn reseal(at: &At) -> anyhow::Result<()> {
    let file = RootFile::open(at)?;
    let done = pass(at, &file, false).await?;
    tell!("{} users looked at, {} values sealed again", done.users, done.moved);
    let left = done.identities + done.token_keys;
    anyhow::ensure!(left == 0, "{left} changed meanwhile: run it again");
    Ok(())
}

async fn retire(at: &At, at_once: bool) -> anyhow::Result<()> {
    let mut file = RootFile::open(at)?;
    let since = file.roots.since();
    file.roots.retire()?;
    let Resealed { identities, token_keys, .. } = pass(at, &file, true).await?;
    anyhow::ensure!(
        identities + token_keys == 0,
        "{identities} ways to sign in and {token_keys} token keys need a former root: run `soundoff secret reseal` first"
    );
    let over = since + LASTS_MS;
    anyhow::ensure!(
        at_once || now_ms() >= over,
        "what was begun under a former root may last until {}: come back then, or see --at-once",
        rfc3339(over)
    );
    file.store()?;
    record(at, "former ones retired").await;
    tell!("only the root {} is left in {}", file.in_use()?, file.path.display());
    let next = if at.aws {
        "derive each role's keys again, and restart all processes"
    } else {
        "restart `soundoff up`"
    };
    tell!("{next}, so that none remembers the former ones");
    Ok(())
}
