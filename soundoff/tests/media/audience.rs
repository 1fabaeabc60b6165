//! Who may open a picture: what is not for everybody opens by a URL that was signed for one viewer, and looks to all
//! others as if it did not exist.

use image::ImageFormat;
use serde_json::json;
use soundoff_common::model::media::{self, Rendition};
use soundoff_common::model::{ids, privacy};
use soundoff_common::ports::tables::{Item, Table, Tables, Write};
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::web::pictures::PictureKey;
use soundoff_common::web::secret::Secret;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use ulid::Ulid;

use super::pictures::picture;
use super::support::client::Client;
use super::support::web::{Answer, web};
use super::support::{Server, tokens};
use super::{one_user, shown, taken};

/// A picture that there never was.
const NONE: &str = "/v1/media/01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn user(name: &str) -> Handle {
    name.parse().unwrap()
}

/// The key by which the server judges URLs.
fn key(server: &Server) -> PictureKey {
    PictureKey::of(&Secret::read(&std::fs::read(server.data().join("secret.key")).unwrap()).unwrap()).unwrap()
}

/// A path that this key signs for a viewer, as if it were `later` seconds from now.
fn signed(key: &PictureKey, id: Ulid, viewer: &str, later: i64) -> String {
    let now = (now_ms() / 1000).checked_add_signed(later).unwrap();
    format!("/v1/media/{id}?{}", key.sign(id, &user(viewer), now).query())
}

/// Changes the server's tables while it is down.
async fn edit<F: Future<Output = Vec<Write>>>(
    server: &mut Server,
    writes: impl FnOnce(std::sync::Arc<EmbeddedTables>) -> F,
) {
    server.terminate();
    assert!(server.wait().success());
    let tables = EmbeddedTables::open(server.data(), &TableOptions::default()).unwrap();
    tables.write(writes(tables.clone()).await).await.unwrap();
    drop(tables);
    server.restart();
}

/// What a handler will write that limits the audience of the one post that shows a medium, or takes that back.
async fn set_closed(server: &mut Server, id: Ulid, closed: bool) {
    edit(server, async |tables| {
        let found = tables.get(Table::Entities, media::key(id)).await.unwrap();
        let stored = media::parse(found).unwrap().unwrap();
        assert_eq!(stored.posts, 1);
        if closed { media::close(&[(id, stored)]) } else { media::open(&[(id, stored)]) }
    })
    .await;
}

async fn set_private(server: &mut Server, name: &str, private: bool) {
    edit(server, async |_| {
        let item = Item::of(&privacy::Privacy { v: 1, private, ..privacy::Privacy::default() });
        vec![Write::put(Table::Relationships, privacy::key(&user(name)), item)]
    })
    .await;
}

/// A server on which alice has posted a picture, and its id.
async fn posted() -> (Server, Client, Ulid) {
    let (server, token, mut alice) = one_user(&[]).await;
    let id = taken(&server, &token, &picture(300, 200, ImageFormat::Png)).await;
    alice.push("media.ready").await;
    alice.call("post.create", json!({ "text": "look", "media": [id] })).await;
    tokens(&server.address, &["bobby"]).await;
    (server, alice, ids::parse(&id).unwrap())
}

async fn again(server: &Server, name: &str) -> Client {
    Client::hello(&server.address, &tokens(&server.address, &[name]).await[name], None, None).await
}

/// Checks that a path opens nothing, however it is asked for, and that the answers are those of a picture that there
/// never was.
async fn opens_nothing(server: &Server, path: &str, tag: &str, what: &str) {
    let none = shown(server, NONE).await;
    for (method, headers) in [
        ("GET", &[][..]),
        ("HEAD", &[]),
        ("GET", &[("range", "bytes=0-9")]),
        ("GET", &[("range", "bytes=99999999-")]),
        ("GET", &[("if-none-match", tag)]),
        ("HEAD", &[("if-none-match", "*")]),
        ("GET", &[("range", "bytes=0-9"), ("if-range", tag)]),
    ] {
        let answer = web(&server.address, &format!("{method} {path}"), headers, b"").await;
        let none = if method == "HEAD" {
            web(&server.address, &format!("HEAD {NONE}"), &[], b"").await
        } else {
            none.clone()
        };
        assert_eq!(answer.status, 404, "{what}: {method} {headers:?} {answer:?}");
        assert_eq!(answer.body, none.body, "{what}");
        for header in
            ["cache-control", "content-type", "content-length", "etag", "content-range", "accept-ranges"]
        {
            assert_eq!(answer.header(header), none.header(header), "{what}: {header}");
        }
    }
}

fn max_age(answer: &Answer, scope: &str) -> u64 {
    let said = answer.header("cache-control");
    let age = said.strip_prefix(&format!("{scope}, max-age=")).unwrap_or_else(|| panic!("{said}"));
    age.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_for_everybody_opens_by_a_url_for_one_viewer_only() {
    let (mut server, _, id) = posted().await;
    let path = media::url(id);
    let open = shown(&server, &path).await;
    assert_eq!((open.status, open.header("cache-control")), (200, "public, max-age=3600"));
    let tag = open.header("etag").to_owned();
    set_closed(&mut server, id, true).await;
    for query in ["", "?size=full", "?size=feed", "?size=thumb", "?fbclid=1", "?for=bobby", "?signature="] {
        opens_nothing(&server, &format!("{path}{query}"), &tag, query).await;
    }

    let url = signed(&key(&server), id, "bobby", 0);
    for size in ["", "&size=full", "&size=feed", "&size=thumb", "&fbclid=x"] {
        let answer = shown(&server, &format!("{url}{size}")).await;
        assert_eq!(answer.status, 200, "{size}: {answer:?}");
        assert!((540..=900).contains(&max_age(&answer, "private")), "{answer:?}");
        assert_eq!(answer.body == open.body, !["&size=feed", "&size=thumb"].contains(&size), "{size}");
    }
    let part = web(&server.address, &format!("GET {url}"), &[("range", "bytes=0-9")], b"").await;
    assert_eq!((part.status, &part.body[..]), (206, &open.body[..10]));
    let known = web(&server.address, &format!("GET {url}"), &[("if-none-match", &tag)], b"").await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert!(max_age(&known, "private") <= 900 && max_age(&part, "private") <= 900);
    let head = web(&server.address, &format!("HEAD {url}"), &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, open.body.len().to_string().as_str()));

    let ours = key(&server);
    let another = Ulid::generate();
    let of_another = signed(&ours, another, "bobby", 0);
    for (what, path) in [
        ("expired", signed(&ours, id, "bobby", -1000)),
        ("signed by a clock that is an hour ahead", signed(&ours, id, "bobby", 3600)),
        ("forged", signed(&PictureKey::new(&[9; 32]), id, "bobby", 0)),
        ("altered", format!("{url}0")),
        ("for another medium", of_another.replace(&another.to_string(), &id.to_string())),
        ("for another viewer", url.replace("for=bobby", "for=carol")),
        ("for longer", url.replacen("until=1", "until=2", 1)),
        ("for two", format!("{url}&for=carol")),
    ] {
        assert_ne!(path, url, "{what}");
        opens_nothing(&server, &path, &tag, what).await;
    }
    set_closed(&mut server, id, false).await;
    assert_eq!(shown(&server, &path).await.header("cache-control"), "public, max-age=3600");
    let answer = shown(&server, &signed(&key(&server), id, "bobby", 0)).await;
    assert!(max_age(&answer, "private") <= 900, "a purge does not name this URL");
    let answer = shown(&server, &format!("{path}?fbclid=1")).await;
    assert_eq!((answer.status, max_age(&answer, "private")), (200, 3600), "nor this one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_opens_nothing_across_a_block_and_under_a_root_that_is_retired() {
    let (mut server, _, id) = posted().await;
    let tag = shown(&server, &media::url(id)).await.header("etag").to_owned();
    set_closed(&mut server, id, true).await;
    let old = [signed(&key(&server), id, "bobby", 0), signed(&key(&server), id, "alice", 0)];
    let mut alice = again(&server, "alice").await;
    alice.call("block.add", json!({ "user": "bobby" })).await;
    opens_nothing(&server, &old[0], &tag, "blocked by the owner").await;
    assert_eq!(shown(&server, &old[1]).await.status, 200, "nobody is blocked by themselves");
    alice.call("block.remove", json!({ "user": "bobby" })).await;
    assert_eq!(shown(&server, &old[0]).await.status, 200);
    let mut bobby = again(&server, "bobby").await;
    bobby.call("block.add", json!({ "user": "alice" })).await;
    opens_nothing(&server, &old[0], &tag, "who blocked the owner").await;
    bobby.call("block.remove", json!({ "user": "alice" })).await;

    server.command(&["secret", "rotate"]);
    server.restart();
    let new = signed(&key(&server), id, "bobby", 0);
    assert_ne!(new, old[0]);
    for url in [&new, &old[0]] {
        assert_eq!(shown(&server, url).await.status, 200, "both roots are known");
    }
    server.command(&["secret", "reseal"]);
    server.command(&["secret", "retire", "--at-once"]);
    server.restart();
    assert_eq!(shown(&server, &new).await.status, 200);
    opens_nothing(&server, &old[0], &tag, "of a root that is retired").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_owners_pictures_open_by_signed_urls_only_the_owners_drafts_too() {
    let (mut server, _, id) = posted().await;
    let token = tokens(&server.address, &["alice"]).await["alice"].as_str().unwrap().to_owned();
    let png = picture(40, 30, ImageFormat::Png);
    let draft = taken(&server, &token, &png).await;
    let mut alice = again(&server, "alice").await;
    let url = format!("/v1/media/{draft}");
    while alice.push("media.ready").await["body"]["media"]["url"] != url {}
    let loose = shown(&server, &url).await;
    assert_eq!((loose.status, loose.header("cache-control")), (200, "private, no-cache"));
    let tag = shown(&server, &media::url(id)).await.header("etag").to_owned();

    set_private(&mut server, "alice", true).await;
    opens_nothing(&server, &media::url(id), &tag, "posted").await;
    opens_nothing(&server, &url, &tag, "loose").await;
    assert_eq!(shown(&server, &signed(&key(&server), id, "bobby", 0)).await.status, 200);

    let token = tokens(&server.address, &["alice"]).await["alice"].as_str().unwrap().to_owned();
    let mut alice = again(&server, "alice").await;
    let next = taken(&server, &token, &png).await;
    let ready = loop {
        let ready = alice.push("media.ready").await["body"]["media"].take();
        if ready["id"] == next.as_str() {
            break ready;
        }
    };
    opens_nothing(&server, &format!("/v1/media/{next}"), &tag, "checked").await;
    for url in ["url", "feed", "thumb"] {
        let answer = shown(&server, ready[url].as_str().unwrap()).await;
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
        assert!((540..=900).contains(&max_age(&answer, "private")), "{answer:?}");
    }
    assert!(ready["thumb"].as_str().unwrap().contains("&size=thumb"), "{ready}");
    // What is shown under a signed path is what everybody would be shown.
    let full = Rendition { content_type: "image/png".to_owned(), bytes: 1, width: 40, height: 30 };
    let id = ids::parse(&next).unwrap();
    let path = ready["url"].as_str().unwrap();
    let now = now_ms() / 1000;
    let as_of = [now, now - 300]
        .map(|now| media::Media::signed(id, &full, &key(&server).sign(id, &user("alice"), now)).url);
    assert!(as_of.iter().any(|url| url == path), "{path}, not of {as_of:?}");

    set_private(&mut server, "alice", false).await;
    assert_eq!(shown(&server, &media::url(id)).await.status, 200);
}
