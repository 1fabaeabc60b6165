"""Chapter: what the inbox promises to devices that come, go and come back, and what a drain looks like."""

import asyncio

from .app import WITHIN, App
from .report import check, same
from .server import Server


async def walk():
    async with Server(edges=2, drain_ms=2000) as server:
        eve, fay = await server.tokens("eve", "fay")
        sender = await App.enter(server, fay, device="pen")
        await resuming(server, eve, sender)
        await devices(server, eve, sender)
        await asker_gone(server, fay, sender)
        await moving(server, eve, sender)
        await draining(server, eve, sender)
        with check("delivery: every queue and dead letter queue is empty in the end"):
            await server.assert_drained()


async def tell(sender, *texts):
    for text in texts:
        await sender.ok("dm.send", {"to": "eve", "text": text})


async def heard(app, count):
    """Awaits pushes: (seq, text)."""
    pushes = [await app.push("dm.received") for _ in range(count)]
    return [(push["seq"], push["body"]["message"]["text"]) for push in pushes]


async def resuming(server, eve, sender):
    with check("resume: a device never seen before starts at the newest"):
        await tell(sender, "one", "two", "three")
        phone = await App.enter(server, eve, device="phone")
        same(phone.welcome["cursor"], 3)
        await tell(sender, "four")
        same(await heard(phone, 1), [(4, "four")])
        same(phone.pushes(), [(4, "dm.received")])
    with check("resume: unacked pushes come again to the same device"):
        phone.vanish()
        phone = await App.enter(server, eve, device="phone")
        same(await heard(phone, 1), [(4, "four")])
    with check("resume: after the device's last ack"):
        await tell(sender, "five", "six")
        same(await heard(phone, 2), [(5, "five"), (6, "six")])
        await phone.frame({"op": "ack", "cursor": 5})
        await phone.pong()
        same(await phone.leave(), 1000)
        await tell(sender, "seven")
        # An ack is stored soon after the socket has closed: a device that is back at once may get more than it needs.
        async with asyncio.timeout(WITHIN):
            while True:
                phone = await App.enter(server, eve, device="phone")
                same(phone.welcome["cursor"], 7)
                await phone.push("dm.received", seq=7)
                if phone.pushes()[0][0] == 6:
                    break
                await phone.leave()
        same(phone.pushes(), [(6, "dm.received"), (7, "dm.received")])
    with check("resume: a cursor in hello beats the device's ack"):
        await phone.leave()
        phone = await App.enter(server, eve, device="phone", cursor=6)
        same(await heard(phone, 1), [(7, "seven")])
        same(phone.pushes(), [(7, "dm.received")])
        await phone.leave()
    with check("resume: everything since the cursor comes before anything newer"):
        await tell(sender, "eight")
        watch = await App.connect(server)
        await watch.frame({"op": "hello", "token": eve, "device": "watch", "cursor": 6})
        await tell(sender, "nine")
        same(await heard(watch, 3), [(7, "seven"), (8, "eight"), (9, "nine")])
        same([frame["op"] for frame in watch.log if frame["op"] in ("welcome", "push")], ["welcome"] + ["push"] * 3)
        await watch.leave()
    with check("resume: a device without a name starts at the newest every time"):
        nameless = await App.enter(server, eve)
        await tell(sender, "ten")
        same(await heard(nameless, 1), [(10, "ten")])
        await nameless.leave()


async def devices(server, eve, sender):
    with check("devices: each gets every push, over both edges"):
        several = [await App.enter(server, eve, device=name) for name in ("tv", "car", "desk", "wall")]
        await tell(sender, "to all")
        for app in several:
            same(await heard(app, 1), [(11, "to all")])
    with check("devices: a reply goes only to the socket that asked"):
        await several[0].ok("profile.get", {}, id="asked-here")
        for app in several[1:]:
            await app.pong()
            assert not [frame for frame in app.log if frame.get("id") == "asked-here"], app.log
    for app in several:
        await app.leave()


async def asker_gone(server, fay, sender):
    with check("devices: a reply goes to the user's other sockets when the asker is gone"):
        await server.command("workers", "pause")
        hasty = await App.enter(server, fay)
        id = await hasty.send("post.create", {"text": "and away"})
        await hasty.expect("accepted", id=id)
        same(await hasty.leave(), 1000)
        await server.command("workers", "resume")
        same((await sender.expect("reply", id=id))["body"]["post"]["text"], "and away")


async def moving(server, eve, sender):
    with check("resume: a device that moves during a stream misses nothing and sees the order"):
        total, seen = 80, []
        first = await App.enter(server, eve, device="train")
        cursor = first.welcome["cursor"]
        first.vanish()
        stream = asyncio.create_task(tell(sender, *[f"stream {n}" for n in range(total)]))
        while len(seen) < total:
            train = await App.enter(server, eve, device="train", cursor=cursor)
            while len(seen) < total and not (train.log and len(train.pushes()) >= 6):
                push = await train.push("dm.received")
                assert push["seq"] == cursor + 1, f"{push['seq']} after {cursor}"
                cursor = push["seq"]
                seen.append(push["body"]["message"]["text"])
            train.vanish()
        await stream
        same(seen, [f"stream {n}" for n in range(total)])


async def draining(server, eve, sender):
    with check("drain: goaway with a window, then 4001, exit code 0"):
        lamp = await App.enter(server, eve, device="lamp")
        cursor = lamp.welcome["cursor"]
        await tell(sender, "before the drain")
        server.terminate()
        for app in (lamp, sender):
            low, high = (await app.expect("goaway"))["reconnect_after_ms"]
            assert 0 <= low <= high, (low, high)
        same([await lamp.close_code(), await sender.close_code()], [4001, 4001])
        same(await server.exit_code(), 0)
    with check("drain: after the restart the device goes on where it was"):
        await server.start()
        [eve, fay] = await server.tokens("eve", "fay")
        lamp = await App.enter(server, eve, device="lamp", cursor=cursor)
        same(await heard(lamp, 1), [(cursor + 1, "before the drain")])
        sender = await App.enter(server, fay)
        await tell(sender, "after")
        same(await heard(lamp, 1), [(cursor + 2, "after")])
        await lamp.leave()
        await sender.leave()
