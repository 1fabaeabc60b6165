"""Chapter: every message type, its reply, what others see, and its errors."""

from .app import App, is_time, is_ulid
from .report import check, same
from .server import Server


async def walk():
    async with Server(edges=2) as server:
        tokens = await server.tokens("ada", "bob", "cyd")
        # Two edges: sockets are handed out in turn, so users meet across them.
        ada, bob, cyd = [await App.enter(server, token, device="phone") for token in tokens]
        await profiles(ada, bob)
        await follows(ada, bob, cyd)
        post = await posts(ada, bob, cyd)
        await likes(ada, bob, cyd, post)
        await comments(ada, bob, post)
        await deletion(ada, bob, cyd, post)
        await direct(server, tokens, ada, bob)
        await live(ada, bob, cyd)
        for app in (ada, bob, cyd):
            with check(f"inbox: {app.user}'s seqs have no gap"):
                seqs = [seq for seq, _ in app.pushes()]
                same(seqs, list(range(1, len(seqs) + 1)))
            await app.leave()
        with check("messages: every queue and dead letter queue is empty in the end"):
            await server.assert_drained()


async def profiles(ada, bob):
    with check("profile.get: one's own, fresh"):
        user = (await ada.ok("profile.get", {}))["user"]
        same({k: user[k] for k in ("handle", "followers", "following", "posts")},
             {"handle": "ada", "followers": 0, "following": 0, "posts": 0})
        assert isinstance(user["name"], str) and isinstance(user["bio"], str) and is_time(user["created_at"]), user
    with check("profile.update: name and bio, seen by others"):
        user = (await ada.ok("profile.update", {"name": "Ada Ł.", "bio": "counts\nthings"}))["user"]
        same((user["handle"], user["name"], user["bio"]), ("ada", "Ada Ł.", "counts\nthings"))
        same((await bob.ok("profile.get", {"user": "ada"}))["user"], {**user, "you": "none"})
    with check("profile.update: one field leaves the other"):
        user = (await ada.ok("profile.update", {"bio": ""}))["user"]
        same((user["name"], user["bio"]), ("Ada Ł.", ""))
    with check("profile: errors"):
        same(await ada.refused("profile.get", {"user": "nobody_here"}), "not_found")
        same(await ada.refused("profile.get", {"user": "Not A Handle"}), "bad_message")
        same(await ada.refused("profile.get", []), "bad_message")
        same(await ada.refused("profile.update", {"name": "n" * 51}), "too_large")
        same(await ada.refused("profile.update", {"bio": "b" * 301}), "too_large")
        same(await ada.refused("profile.update", {"name": 7}), "bad_message")
    with check("profile.get: unknown fields of the body are ignored"):
        same((await ada.ok("profile.get", {"user": "bob", "in": "colour"}))["user"]["handle"], "bob")


async def follows(ada, bob, cyd):
    with check("follow.add: the reply, and the push to the followed with the message's mid"):
        accepted, reply = await bob.ask("follow.add", {"user": "ada"})
        same(reply["body"], {"user": "ada", "following": True, "state": "following"})
        push = await ada.push("follow.added")
        same((push["seq"], push["body"], push["mid"]), (1, {"by": "bob"}, accepted["mid"]))
    with check("follow.add: twice counts once"):
        same(await bob.ok("follow.add", {"user": "ada"}), {"user": "ada", "following": True, "state": "following"})
        same((await bob.ok("profile.get", {"user": "ada"}))["user"]["followers"], 1)
        same((await bob.ok("profile.get", {}))["user"]["following"], 1)
    with check("follow.remove, and the followed gets one push for each follower"):
        same(await bob.ok("follow.remove", {"user": "ada"}), {"user": "ada", "following": False, "state": "none"})
        same((await bob.ok("profile.get", {"user": "ada"}))["user"]["followers"], 0)
        await bob.ok("follow.add", {"user": "ada"})
        await cyd.ok("follow.add", {"user": "ada"})
        push = await ada.push("follow.added")
        same((push["seq"], push["body"]), (2, {"by": "cyd"}))
        await cyd.ok("follow.remove", {"user": "ada"})
    with check("follow.list: both directions, newest first, page by page"):
        await ada.ok("follow.add", {"user": "bob"})
        await cyd.ok("follow.add", {"user": "bob"})
        same(await bob.ok("follow.list", {"direction": "followers"}), {"items": ["cyd", "ada"], "next": None})
        first = await ada.ok("follow.list", {"user": "bob", "direction": "followers", "limit": 1})
        same(first["items"], ["cyd"])
        second = await ada.ok("follow.list", {"user": "bob", "direction": "followers", "limit": 1, "before": first["next"]})
        same(second["items"], ["ada"])
        same(await cyd.ok("follow.list", {"direction": "following"}), {"items": ["bob"], "next": None})
        await bob.push("follow.added", body={"by": "cyd"})
    with check("follow: errors"):
        same(await bob.refused("follow.add", {"user": "nobody_here"}), "not_found")
        same(await bob.refused("follow.add", {"user": "bob"}), "bad_message")
        same(await bob.refused("follow.add", {}), "bad_message")
        same(await bob.refused("follow.list", {"direction": "sideways"}), "bad_message")
        same(await bob.refused("follow.list", {"direction": "followers", "limit": 0}), "bad_message")
        same(await bob.refused("follow.list", {"direction": "followers", "limit": 101}), "bad_message")
        same(await bob.refused("follow.list", {"direction": "followers", "before": "?"}), "bad_message")


async def posts(ada, bob, cyd):
    with check("post.create: the reply, and the event to a follower online"):
        post = (await ada.ok("post.create", {"text": "Grüße 👋"}))["post"]
        same((post["author"], post["text"], post["likes"], post["comments"]), ("ada", "Grüße 👋", 0, 0))
        assert is_time(post["created_at"]) and isinstance(post["id"], str), post
        same(await bob.event("post.created"), {"post": post})
    with check("post.create: a user who does not follow gets nothing"):
        await cyd.pong()
        assert not [frame for frame in cyd.log if frame.get("type") == "post.created"], cyd.log
    with check("post.get: anybody's, not liked yet"):
        same(await cyd.ok("post.get", {"post": post["id"]}), {"post": post, "liked": False})
    with check("post.list: newest first, page by page to the end"):
        texts = [f"number {n}" for n in range(5)]
        for text in texts:
            await ada.ok("post.create", {"text": text})
        found, before = [], {}
        while True:
            page = await bob.ok("post.list", {"user": "ada", "limit": 2} | before)
            found += page["items"]
            if page["next"] is None:
                break
            before = {"before": page["next"]}
        same([item["text"] for item in found], texts[::-1] + ["Grüße 👋"])
        same((await ada.ok("post.list", {}))["items"], found)
        same((await ada.ok("profile.get", {}))["user"]["posts"], 6)
    with check("post.create: 2000 characters are taken, of any alphabet"):
        same((await cyd.ok("post.create", {"text": "語" * 2000}))["post"]["text"], "語" * 2000)
    with check("post: errors"):
        same(await ada.refused("post.create", {"text": "x" * 2001}), "too_large")
        same(await ada.refused("post.create", {"text": ""}), "bad_message")
        same(await ada.refused("post.create", {"text": None}), "bad_message")
        same(await ada.refused("post.create", "text"), "bad_message")
        same(await ada.refused("post.get", {"post": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}), "not_found")
        same(await ada.refused("post.get", {"post": "no id at all"}), "not_found")
        same(await ada.refused("post.list", {"user": "nobody_here"}), "not_found")
    return post


async def likes(ada, bob, cyd, post):
    named = {"post": post["id"]}
    with check("like.add: counts, pushes to the author, shows in post.get"):
        accepted, reply = await bob.ask("like.add", named)
        same(reply["body"], named | {"likes": 1, "liked": True})
        push = await ada.push("like.added")
        same((push["body"], push["mid"]), (named | {"by": "bob"}, accepted["mid"]))
        seen = await bob.ok("post.get", named)
        same((seen["liked"], seen["post"]["likes"]), (True, 1))
    with check("like: twice is once, remove takes it back, the author hears once per liker"):
        same((await bob.ok("like.add", named))["likes"], 1)
        same((await bob.ok("like.remove", named)), named | {"likes": 0, "liked": False})
        same((await bob.ok("like.remove", named))["likes"], 0)
        same((await bob.ok("like.add", named))["likes"], 1)
        same((await cyd.ok("like.add", named))["likes"], 2)
        same((await ada.push("like.added"))["body"], named | {"by": "cyd"})
    with check("like: errors"):
        same(await bob.refused("like.add", {"post": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}), "not_found")
        same(await bob.refused("like.remove", {"post": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}), "not_found")
        same(await bob.refused("like.add", {"post": 5}), "bad_message")


async def comments(ada, bob, post):
    named = {"post": post["id"]}
    with check("comment.create: the reply, and the push to the author"):
        accepted, reply = await bob.ask("comment.create", named | {"text": "first!"})
        comment = reply["body"]["comment"]
        same((comment["post"], comment["author"], comment["text"]), (post["id"], "bob", "first!"))
        assert is_time(comment["created_at"]) and isinstance(comment["id"], str), comment
        push = await ada.push("comment.created")
        same((push["body"], push["mid"]), ({"comment": comment}, accepted["mid"]))
    with check("comment.list: newest first, page by page; the post counts them"):
        second = (await ada.ok("comment.create", named | {"text": "second"}))["comment"]
        page = await bob.ok("comment.list", named | {"limit": 1})
        same(page["items"], [second])
        same((await bob.ok("comment.list", named | {"limit": 1, "before": page["next"]}))["items"], [comment])
        same((await bob.ok("post.get", named))["post"]["comments"], 2)
    with check("comment: errors"):
        same(await bob.refused("comment.create", named | {"text": "x" * 1001}), "too_large")
        same(await bob.refused("comment.create", named), "bad_message")
        same(await bob.refused("comment.create", {"post": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "text": "x"}), "not_found")
        same(await bob.refused("comment.list", {"post": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}), "not_found")


async def deletion(ada, bob, cyd, post):
    named = {"post": post["id"]}
    with check("post.delete: forbidden to others"):
        same(await bob.refused("post.delete", named), "forbidden")
    with check("post.delete: the reply, and the event to followers"):
        deleted = (await ada.ok("post.delete", named))["post"]
        same((deleted["id"], deleted["author"]), (post["id"], "ada"))
        same((await bob.event("post.deleted"))["post"]["id"], post["id"])
    with check("post.delete: it is gone for every user and every type"):
        for app in (ada, bob, cyd):
            same(await app.refused("post.get", named), "not_found")
        same(await bob.refused("like.add", named), "not_found")
        same(await bob.refused("comment.create", named | {"text": "late"}), "not_found")
        same(await bob.refused("comment.list", named), "not_found")
        same(await ada.refused("post.delete", named), "not_found")
        assert post["id"] not in [item["id"] for item in (await bob.ok("post.list", {"user": "ada"}))["items"]]
        same((await ada.ok("profile.get", {}))["user"]["posts"], 5)


async def direct(server, tokens, ada, bob):
    with check("dm.send: the reply, dm.received to the other, dm.sent to one's other devices"):
        tablet = await App.enter(server, tokens[0], device="tablet")
        accepted, reply = await ada.ask("dm.send", {"to": "bob", "text": "psst"})
        message = reply["body"]["message"]
        same((message["from"], message["to"], message["text"]), ("ada", "bob", "psst"))
        assert is_time(message["created_at"]) and isinstance(message["id"], str), message
        push = await bob.push("dm.received")
        same((push["body"], push["mid"]), ({"message": message}, accepted["mid"]))
        same((await tablet.push("dm.sent"))["body"], {"message": message})
        assert not [frame for frame in tablet.log if frame["op"] in ("reply", "accepted")], tablet.log
        await tablet.leave()
    with check("dm.list: both see the same, newest first, page by page"):
        answer = (await bob.ok("dm.send", {"to": "ada", "text": "what?"}))["message"]
        await ada.push("dm.received")
        for app, other in ((ada, "bob"), (bob, "ada")):
            same(await app.ok("dm.list", {"with": other}), {"items": [answer, message], "next": None})
        page = await ada.ok("dm.list", {"with": "bob", "limit": 1})
        same((await ada.ok("dm.list", {"with": "bob", "limit": 1, "before": page["next"]}))["items"], [message])
    with check("dm: 4000 characters are taken; errors"):
        await ada.ok("dm.send", {"to": "bob", "text": "🦊" * 4000})
        same(await ada.refused("dm.send", {"to": "bob", "text": "x" * 4001}), "too_large")
        same(await ada.refused("dm.send", {"to": "ada", "text": "me"}), "bad_message")
        same(await ada.refused("dm.send", {"to": "nobody_here", "text": "x"}), "not_found")
        same(await ada.refused("dm.send", {"to": "bob"}), "bad_message")
        same(await ada.refused("dm.list", {"with": "nobody_here"}), "not_found")


async def live(ada, bob, cyd):
    with check("typing: an empty reply, and the event to the other"):
        same(await ada.ok("typing", {"to": "bob"}), {})
        same(await bob.event("typing"), {"from": "ada"})
        same(await ada.refused("typing", {"to": "nobody_here"}), "not_found")
    with check("presence.get: who is online"):
        same(await ada.ok("presence.get", {"users": ["cyd", "nobody_here", "bob"]}), {"online": ["cyd", "bob"]})
        same(await ada.ok("presence.get", {"users": []}), {"online": []})
        same(await ada.refused("presence.get", {"users": [f"u_{n}" for n in range(101)]}), "bad_message")
    with check("same id again: duplicate, the first outcome, one effect"):
        _, first = await cyd.ask("post.create", {"text": "once"}, id="my-own-id")
        _, again = await cyd.ask("post.create", {"text": "once"}, id="my-own-id")
        assert "duplicate" not in first and again["duplicate"] is True, again
        same(again["body"], first["body"])
        items = (await cyd.ok("post.list", {}))["items"]
        same([item["text"] for item in items].count("once"), 1)
    with check("same id for another message: conflict"):
        same(await _code(cyd, "post.create", {"text": "twice"}, "my-own-id"), "conflict")
        same(await _code(cyd, "dm.send", {"to": "ada", "text": "once"}, "my-own-id"), "conflict")
        items = (await cyd.ok("post.list", {}))["items"]
        assert "twice" not in [item["text"] for item in items], items
    with check("same id of another user: no matter"):
        _, reply = await bob.ask("post.create", {"text": "mine"}, id="my-own-id")
        assert reply["ok"] and "duplicate" not in reply, reply
        assert is_ulid(reply["body"]["post"]["id"]), reply


async def _code(app, kind, body, id):
    _, reply = await app.ask(kind, body, id=id)
    return reply["error"]["code"]
