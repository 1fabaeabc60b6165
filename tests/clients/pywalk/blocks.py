"""Chapter: after a block nothing of one reaches the other, both ways."""

from .app import App
from .report import check, same
from .server import Server


async def walk():
    async with Server(edges=2) as server:
        gil, hal, ivy = [await App.enter(server, token, device="phone") for token in await server.tokens("gil", "hal", "ivy")]
        await hal.ok("follow.add", {"user": "gil"})
        await gil.ok("follow.add", {"user": "hal"})
        post = (await gil.ok("post.create", {"text": "before"}))["post"]
        await hal.event("post.created")
        with check("block.add: the reply; follows between the two end"):
            same(await gil.ok("block.add", {"user": "hal"}), {"user": "hal", "blocked": True})
            for app in (gil, hal):
                user = (await app.ok("profile.get", {}))["user"]
                same((user["followers"], user["following"]), (0, 0))
        for one, other in ((gil, hal), (hal, gil)):
            await silence(one, other, ivy, post)
        with check("block: errors"):
            same(await gil.refused("block.add", {"user": "gil"}), "bad_message")
            same(await gil.refused("block.add", {"user": "nobody_here"}), "not_found")
        with check("block.remove: they reach each other again"):
            same(await gil.ok("block.remove", {"user": "hal"}), {"user": "hal", "blocked": False})
            await hal.ok("dm.send", {"to": "gil", "text": "friends?"})
            same((await gil.push("dm.received"))["body"]["message"]["text"], "friends?")
            same((await hal.ok("post.get", {"post": post["id"]}))["post"]["text"], "before")
        for app in (gil, hal, ivy):
            await app.leave()
        with check("blocks: every queue and dead letter queue is empty in the end"):
            await server.assert_drained()


async def silence(one, other, witness, post):
    """Nothing of `other` reaches `one`, whichever of the two has blocked."""
    name = f"block: {other.user} to {one.user}"
    with check(f"{name}: actions are forbidden"):
        same(await other.refused("dm.send", {"to": one.user, "text": "hey"}), "forbidden")
        same(await other.refused("follow.add", {"user": one.user}), "forbidden")
        if post["author"] == one.user:
            same(await other.refused("comment.create", {"post": post["id"], "text": "hey"}), "forbidden")
            same(await other.refused("like.add", {"post": post["id"]}), "forbidden")
    with check(f"{name}: existing content is not found"):
        same(await other.refused("profile.get", {"user": one.user}), "not_found")
        same(await other.refused("post.list", {"user": one.user}), "not_found")
        same(await other.refused("follow.list", {"user": one.user, "direction": "followers"}), "not_found")
        if post["author"] == one.user:
            same(await other.refused("post.get", {"post": post["id"]}), "not_found")
        same(await other.ok("presence.get", {"users": [one.user, witness.user]}), {"online": [witness.user]})
    with check(f"{name}: no event and no push arrives"):
        before = len(one.log)
        same(await other.ok("typing", {"to": one.user}), {})
        await other.ok("post.create", {"text": "can you hear me?"})
        await witness.ok("typing", {"to": one.user})
        await witness.ok("dm.send", {"to": one.user, "text": "I am the first"})
        same((await one.push("dm.received"))["body"]["message"]["from"], witness.user)
        same(await one.event("typing"), {"from": witness.user})
        came = [frame for frame in one.log[before:] if frame["op"] in ("push", "event")]
        strangers = [frame for frame in came if other.user in str(frame)]
        assert not strangers, strangers
