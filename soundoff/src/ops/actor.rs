//! Who gives an operator's command.

/// The longest name of an operator.
const MAX_NAME: usize = 64;

/// The user of the operating system who runs this process: `anna (1000)`, or the number alone.
pub(super) fn os_user() -> String {
    let id = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.map_or_else(|| id.to_string(), |name| format!("{name} ({id})"))
}

/// A name as another process said it, fit for a log.
pub(super) fn named(by: &str) -> String {
    by.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}
