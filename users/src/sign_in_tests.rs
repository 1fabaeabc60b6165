use std::sync::Arc;

use soundoff_common::ports::tables::{Item, Key};
use soundoff_common::web::secret::Secret;
use soundoff_common::web::secret::roots::Roots;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};

use super::*;

const NOW: u64 = 1_700_000_000_000;

struct Desk {
    tables: Arc<EmbeddedTables>,
    seal: Seal,
    _dir: tempfile::TempDir,
}

impl Desk {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables = EmbeddedTables::open(dir.path(), &TableOptions::default()).unwrap();
        Self { tables, seal: Seal::new(&Secret::new(&[1; 32]).unwrap()).unwrap(), _dir: dir }
    }

    /// Where version 0.1.0 kept an address: in the spelling of its own, which is written here as it stood there.
    fn row_of_0_1_0(&self, kind: &str, value: &str) -> Row {
        Row::of_key(format!("{kind}#{}", self.seal.hash(&[kind, value])))
    }

    /// An account of version 0.1.0.
    async fn account_of_0_1_0(&self, handle: &str, kind: &str, value: &str) {
        let user: Handle = handle.parse().unwrap();
        let sealed = self.seal.seal(value.as_bytes(), &Identity::context(kind, &user)).unwrap();
        let linked = Item::of(&Linked { user: user.clone(), linked_at: NOW - 1, sealed, session: None });
        let row = self.row_of_0_1_0(kind, value);
        let writes = vec![
            accounts::create(&user, NOW),
            Write::put(Table::Entities, row.key(), linked.clone()),
            Write::put(Table::Entities, row.key_in(&user), linked),
        ];
        self.tables.write(writes).await.unwrap();
    }

    /// Signs in with an address that was typed like this: whose account it is, and whether it is a new one.
    async fn sign_in(&self, typed: &str, handle: &str) -> Result<(String, bool), Refusal> {
        let identity = match typed.contains('@') {
            true => Identity::email(typed)?,
            false => Identity::phone(typed)?,
        };
        let used = Write::put(Table::Entities, Key::new(Ulid::generate().to_string(), "proof"), Item::new());
        let proven = Proven {
            identity: &identity,
            spend: used,
            also: None,
            handle: Some(handle),
            signed_in: None,
            now: NOW,
            lifetime_s: 60,
            proof_s: 60,
            client: None,
        };
        match sign_in(&*self.tables, &self.seal, &proven).await? {
            SignedIn::Session { session, created, .. } => Ok((session.user.to_string(), created)),
            SignedIn::Linked { .. } => panic!("nobody was signed in"),
        }
    }

    /// What a user's list of identities holds.
    async fn listed(&self, handle: &str) -> Vec<(Row, Linked)> {
        identity::of_user(&*self.tables, &handle.parse().unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn all_spellings_of_an_address_are_one_account() {
    let desk = Desk::open();
    for (handle, spellings) in [
        (
            "buecher",
            &["x@b\u{FC}cher.example", "x@xn--bcher-kva.example", "x@bu\u{308}cher\u{3002}example."][..],
        ),
        ("ann", &["Anna@Example.org", "\u{200B}anna@ｅｘａｍｐｌｅ．org "]),
        (
            "london",
            &["+44 (0)20 7946 0018", "+442079460018", "\u{202A}+44\u{A0}20\u{2011}7946\u{2013}0018\u{202C}"],
        ),
    ] {
        for (n, typed) in spellings.iter().enumerate() {
            let other = format!("{handle}{n}");
            let found = desk.sign_in(typed, if n == 0 { handle } else { &other }).await.unwrap();
            assert_eq!(found, (handle.to_owned(), n == 0), "{typed:?}");
        }
        assert_eq!(desk.listed(handle).await.len(), 1);
    }
}

#[tokio::test]
async fn an_account_of_0_1_0_is_found_by_what_its_owner_typed_and_then_by_every_spelling() {
    for (kind, old, typed, others) in [
        ("email", "x@b\u{FC}cher.example", "X@b\u{FC}cher.example", &["x@xn--bcher-kva.example"][..]),
        ("email", "x@bu\u{308}cher.example", "x@bu\u{308}cher.example", &["x@b\u{FC}cher.example"]),
        ("email", "x@b\u{FC}cher.example", "x@xn--bcher-kva.example", &["x@b\u{FC}cher\u{3002}example"]),
        ("email", "jose\u{301}@example.org", "Jose\u{301}@example.org", &["jos\u{E9}@example.org"]),
        ("phone", "+4402079460018", "+44 (0)20 7946 0018", &["+442079460018"]),
        ("phone", "+4402079460018", "+44 20 7946 0018", &["+44 (0)20 7946 0018"]),
        ("phone", "+442079460018", "+44 (0)20 7946 0018", &["+442079460018"]),
        ("email", "anna@example.org", "Anna@example.org", &["anna@EXAMPLE.org"]),
    ] {
        let desk = Desk::open();
        desk.account_of_0_1_0("elder", kind, old).await;
        for typed in [typed].iter().chain(others).chain([&typed]) {
            assert_eq!(
                desk.sign_in(typed, "younger").await.unwrap(),
                ("elder".to_owned(), false),
                "{typed:?}"
            );
            let [(at, row)] = desk.listed("elder").await.try_into().unwrap();
            let opened = desk.seal.open(&row.sealed, &Identity::context(kind, &row.user)).unwrap();
            let value = String::from_utf8(opened).unwrap();
            let expected = Row::of_key(format!("{kind}#{}", desk.seal.hash(&[kind, &value])));
            assert_eq!(at, expected, "found by what it holds");
            assert!(value.is_ascii() || !value.contains('\u{301}'), "{value:?} is the new spelling");
            assert_eq!(row.linked_at, NOW - 1);
        }
    }
}

#[tokio::test]
async fn nobody_gets_the_account_of_another_mailbox() {
    let desk = Desk::open();
    // The code goes to `anna`, who need not be the one whom version 0.1.0 wrote to in full-width letters.
    desk.account_of_0_1_0("wide", "email", "ａnna@example.org").await;
    assert_eq!(desk.sign_in("ａnna@example.org", "anna").await.unwrap(), ("anna".to_owned(), true));
    // Two accounts of one mailbox: its own spelling comes first.
    desk.account_of_0_1_0("first", "email", "x@b\u{FC}cher.example").await;
    desk.account_of_0_1_0("second", "email", "x@xn--bcher-kva.example").await;
    for typed in ["x@b\u{FC}cher.example", "x@xn--bcher-kva.example"] {
        assert_eq!(desk.sign_in(typed, "third").await.unwrap(), ("second".to_owned(), false));
    }
    assert_eq!(desk.listed("first").await.len(), 1, "nothing of it was moved");
}

#[tokio::test]
async fn with_one_session_too_many_the_oldest_ends() {
    let desk = Desk::open();
    let user: Handle = "anna".parse().unwrap();
    desk.sign_in("anna@example.org", "anna").await.unwrap();
    let first = list::named(&*desk.tables, &user).await.unwrap();
    for _ in 0..list::MAX_SESSIONS {
        desk.sign_in("anna@example.org", "other").await.unwrap();
    }
    let named = list::named(&*desk.tables, &user).await.unwrap();
    assert_eq!(named.len(), list::MAX_SESSIONS);
    assert!(!named.contains(&first[0]));
    let key = soundoff_common::model::sign_ins::key(first[0]);
    assert!(desk.tables.get(Table::Entities, key).await.unwrap().is_none(), "it opens nothing any more");
}

#[tokio::test]
async fn processes_of_two_roots_find_each_others_accounts() {
    let mut roots = Roots::read(&[b'a'; 32]).unwrap();
    roots.add([1; 32], 1, true).unwrap();
    let announced = roots.secret().unwrap();
    roots.use_newest(2).unwrap();
    let mut desk = Desk::open();
    let mut seals = [announced, roots.secret().unwrap()].map(|secret| Seal::new(&secret).unwrap());
    for (round, typed) in ["anna@example.org", "+44 20 7946 0018", "bert@example.org"].iter().enumerate() {
        let user = format!("user{round}");
        for (turn, created) in [true, false, false, false].into_iter().enumerate() {
            seals.reverse();
            let [one, _] = &mut seals;
            std::mem::swap(&mut desk.seal, one);
            let found = desk.sign_in(typed, &format!("user{round}{}", "x".repeat(turn))).await.unwrap();
            assert_eq!(found, (user.clone(), created), "{typed} {turn}");
            assert_eq!(desk.listed(&user).await.len(), 1);
            std::mem::swap(&mut desk.seal, &mut seals[0]);
        }
    }
}
