use super::bundle::PREFIX;
use super::roots::{RootsError, State};
use super::*;

#[test]
fn each_purpose_has_a_key_of_its_own() {
    let secret = Secret::new(&[7; 32]).unwrap();
    let keys: Vec<_> = Purpose::ALL.iter().map(|purpose| secret.keys(*purpose).unwrap()).collect();
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(key.len(), 1);
        assert!(!keys[..at].contains(key), "{at}");
        assert_eq!(*key, Secret::new(&[7; 32]).unwrap().keys(Purpose::ALL[at]).unwrap());
        assert_ne!(*key, Secret::new(&[8; 32]).unwrap().keys(Purpose::ALL[at]).unwrap());
    }
    assert_eq!(Secret::new(&[7; 31]).unwrap_err(), SecretError::TooShort);
    assert_eq!(format!("{secret:?}"), "Secret(…)");
}

#[test]
fn keys_of_0_1_0_are_the_same_today() {
    let key = |purpose| hex(&Secret::new(&[7; 32]).unwrap().keys(purpose).unwrap()[0][..8]);
    let keys = [Purpose::Deliveries, Purpose::Uploads, Purpose::Fields, Purpose::Lookup].map(key);
    // By another implementation of HKDF.
    assert_eq!(keys, ["ad0820eacd04b497", "5b06eaabe1edd5f2", "03616440413d92fc", "004441ee00a1905b"]);
    assert_eq!([Purpose::Refresh, Purpose::Operators].map(key), ["b700a4518d3bf2b9", "e12ae2c751876f82"]);
}

fn two() -> Secret {
    let mut roots = Roots::read(&[b'a'; 32]).unwrap();
    roots.add([1; 32], 5, true).unwrap();
    roots.secret().unwrap()
}

#[test]
fn a_bundle_holds_what_its_role_needs_in_each_generation_and_nothing_else() {
    let root = two();
    for role in Role::ALL {
        let text = root.derive(role).unwrap();
        assert!(text.starts_with(&format!("so_role_{}_v1_", role.name())) && text.is_ascii());
        assert!(text.len() < 4096, "an environment variable holds it");
        let bundle = Secret::read(format!("{text}\r\n").as_bytes()).unwrap();
        assert!(!bundle.is_root() && bundle.generations() == root.generations());
        bundle.serves(role).unwrap();
        for purpose in Purpose::ALL {
            match bundle.keys(purpose) {
                Ok(keys) => assert_eq!(keys, root.keys(purpose).unwrap()),
                Err(lacks) => {
                    assert!(!role.needs().contains(&purpose));
                    let said = lacks.to_string();
                    assert!(said.contains(role.name()) && said.contains("derive"), "{said}");
                }
            }
            assert_eq!(bundle.keys(purpose).is_ok(), role.needs().contains(&purpose), "{purpose:?}");
        }
    }
    let edge = Secret::read(root.derive(Role::Edge).unwrap().as_bytes()).unwrap();
    assert!(edge.serves(Role::Router).is_ok() && edge.serves(Role::Users).is_err());
    assert!(edge.derive(Role::Users).is_err(), "only a root has them all");
}

#[test]
fn what_faces_the_internet_can_sign_and_open_nothing_that_others_trust() {
    for kept in [Purpose::TokenKeys, Purpose::Fields, Purpose::Refresh, Purpose::Operators] {
        assert!(!Role::Edge.needs().contains(&kept), "{kept:?}");
    }
    assert!(Role::ALL.iter().all(|role| !role.needs().contains(&Purpose::Operators)));
}

#[test]
fn a_bundle_of_another_version_opens_and_says_what_it_lacks() {
    let root = two();
    // As a version wrote it that knew nothing of pictures, or knows of one thing more.
    let written = |altered: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let text = root.derive(Role::Workers).unwrap();
        let (kind, encoded) = text.split_at(text.find("_v1_").unwrap() + 4);
        let content = keys::content(kind, encoded.as_bytes()).unwrap();
        Secret::read(keys::written(kind, altered(content)).as_bytes()).unwrap()
    };
    let pictures = u8::try_from(Purpose::ALL.iter().position(|p| *p == Purpose::Pictures).unwrap()).unwrap();
    let needed = Role::Workers.needs().len();
    let (head, key) = (keys::ID_BYTES + 1, 1 + KEY_BYTES);
    let generations = |content: &[u8]| -> Vec<Vec<u8>> {
        content[1..].chunks(head + needed * key).map(<[u8]>::to_vec).collect()
    };
    let older = written(&|content| {
        let mut out = vec![content[0]];
        for mut generation in generations(&content) {
            let at = head + (needed - 1) * key;
            assert_eq!(generation[at], pictures, "it is the last of its role");
            generation.truncate(at);
            generation[keys::ID_BYTES] -= 1;
            out.extend(generation);
        }
        out
    });
    assert_eq!(older.keys(Purpose::Deliveries).unwrap(), root.keys(Purpose::Deliveries).unwrap());
    let said = older.serves(Role::Workers).unwrap_err().to_string();
    assert!(said.contains("media pictures") && said.contains("older version"), "{said}");
    assert!(said.contains("soundoff secret derive --role workers"), "{said}");
    let newer = written(&|content| {
        let mut out = vec![content[0]];
        for mut generation in generations(&content) {
            generation[keys::ID_BYTES] += 1;
            generation.push(u8::try_from(Purpose::ALL.len()).unwrap());
            generation.extend([9; KEY_BYTES]);
            out.extend(generation);
        }
        out
    });
    newer.serves(Role::Workers).unwrap();
    assert_eq!(newer.keys(Purpose::Pictures).unwrap(), root.keys(Purpose::Pictures).unwrap());
}

#[test]
fn a_damaged_bundle_is_no_bundle() {
    let text = two().derive(Role::Edge).unwrap();
    for at in 0..text.len() {
        let mut altered = text.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let read = Secret::read(&altered);
        // Without its beginning it is as good as any other text.
        assert!(at < PREFIX.len() || read.is_err(), "{at}");
        assert!(read.is_err() || read.unwrap().generations() != two().generations());
    }
    for cut in PREFIX.len()..text.len() {
        assert!(Secret::read(&text.as_bytes()[..cut]).is_err(), "{cut}");
    }
    let newer = text.replacen("_v1_", "_v2_", 1);
    assert_eq!(Secret::read(newer.as_bytes()).unwrap_err(), SecretError::Version);
    assert_eq!(
        "egde".parse::<Role>().unwrap_err(),
        "no such role; there are edge, router, workers, timeline, users"
    );
}

fn fields(roots: &Roots) -> Vec<[u8; 32]> {
    roots.secret().unwrap().keys(Purpose::Fields).unwrap()
}

#[test]
fn a_new_root_is_announced_used_and_then_alone() {
    let old = [b'a'; 40];
    let mut roots = Roots::read(&[&old[..], b"\n"].concat()).unwrap();
    let first = Secret::new(&old).unwrap().keys(Purpose::Fields).unwrap()[0];
    let second = Secret::new(&[1; 32]).unwrap().keys(Purpose::Fields).unwrap()[0];
    assert_eq!((fields(&roots), roots.since()), (vec![first], 0));
    assert_eq!(roots.retire(), Err(RootsError::NoFormer));
    assert_eq!(roots.use_newest(1), Err(RootsError::NoneAnnounced));
    roots.add([1; 32], 7, true).unwrap();
    assert_eq!((fields(&roots), roots.since()), (vec![first, second], 0), "nothing is made under it yet");
    assert_eq!(roots.add([2; 32], 8, true), Err(RootsError::Announced));
    assert_eq!(roots.retire(), Err(RootsError::Announced));
    let mut roots = Roots::read(roots.text().as_bytes()).unwrap();
    let states = |roots: &Roots| roots.states().unwrap().into_iter().map(|row| row.1).collect::<Vec<_>>();
    assert_eq!(states(&roots), [State::Announced, State::InUse]);
    roots.use_newest(9).unwrap();
    let mut roots = Roots::read(roots.text().as_bytes()).unwrap();
    assert_eq!((fields(&roots), roots.since()), (vec![second, first], 9));
    assert_eq!(states(&roots), [State::InUse, State::Former]);
    roots.add([3; 32], 10, false).unwrap();
    roots.add([4; 32], 11, false).unwrap();
    assert_eq!(roots.add([5; 32], 12, false), Err(RootsError::TooMany));
    assert_eq!(fields(&roots)[2..], [second, first]);
    roots.retire().unwrap();
    let roots = Roots::read(roots.text().as_bytes()).unwrap();
    assert_eq!(fields(&roots), Secret::new(&[4; 32]).unwrap().keys(Purpose::Fields).unwrap());
}

#[test]
fn a_damaged_file_is_no_root() {
    let mut roots = Roots::read(&[b'a'; 32]).unwrap();
    roots.add([1; 32], 7, false).unwrap();
    let text = roots.text();
    for cut in roots::PREFIX.len()..text.len() {
        assert!(Roots::read(&text.as_bytes()[..cut]).is_err(), "{cut}");
    }
    for at in roots::PREFIX.len()..text.len() {
        let mut altered = text.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        assert!(Roots::read(&altered).is_err(), "{at}");
    }
    assert_eq!(Roots::read(&[b'a'; 31]).unwrap_err(), SecretError::TooShort);
}
