"""What people say to each other: every type of message a client may send, most of them often."""

import asyncio
import contextlib
import random
import urllib.request
from collections import Counter

from picture import png


class Spent(Exception):
    """All messages are sent."""


class Refused(Exception):
    """A reply that is not ok; the client has noted it."""


class Talk:
    def __init__(self, people, messages):
        self.people, self.left = people, messages
        self.random, self.sent = random.Random(1), Counter()
        self.posts, self.uploads = [], []
        # The last two block each other now and then; messages of others to either would be refused meanwhile.
        *self.friendly, self.cross, self.hurt = people

    async def call(self, person, kind, body):
        if not self.left:
            raise Spent
        self.left -= 1
        self.sent[kind] += 1
        reply = await person.call(kind, body)
        if not reply["ok"]:
            raise Refused
        return reply["body"]

    def known_types(self):
        return ["media.begin", *(kind for acts in (self.acts(), self.quarrels()) for kinds, _, _ in acts for kind in kinds)]

    async def begin(self):
        """Posts to speak about, friends who get them, and pictures."""
        for person in self.friendly:
            made = await self.call(person, "post.create", {"text": f"{person.handle} is here"})
            self.posts.append(made["post"]["id"])
            self.uploads.append(asyncio.create_task(self.upload(person)))

    async def upload(self, person):
        """Uploads by a URL into the bucket that the workers sign; ends when it may be shown."""
        bytes_ = png(64)
        begun = await self.call(person, "media.begin", {"bytes": len(bytes_)})
        request = urllib.request.Request(begun["upload"]["url"], bytes_, method="PUT")
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=60).read())
        while not any(kind in ("media.ready", "media.failed") for _, kind, _ in person.pushes):
            person.pushed.clear()
            await person.pushed.wait()

    async def pictures_are_ready(self):
        await asyncio.gather(*self.uploads)
        for person in self.friendly:
            kinds = [kind for _, kind, _ in person.pushes]
            if "media.ready" not in kinds:
                person.wrong.append("its picture is not ready")

    def side_by_side(self, person):
        """How many messages a person has on their way at once: two who quarrel take turns."""
        return 1 if person is self.cross else 24

    async def keep_on(self, person):
        acts = self.quarrels() if person is self.cross else self.acts()
        weights = [weight for _, weight, _ in acts]
        while self.left:
            _, _, act = self.random.choices(acts, weights)[0]
            with contextlib.suppress(Refused, Spent):
                await act(person)

    def other(self, person):
        return self.random.choice([p for p in self.friendly if p is not person]).handle

    def acts(self):
        """Types, how often, and what is done."""

        def one(kind, weight, body):
            async def act(person):
                await self.call(person, kind, body(person))

            return ([kind], weight, act)

        def to(person):
            return {"to": self.other(person)}

        def user(person):
            return {"user": self.other(person)}

        def post(_):
            return {"post": self.random.choice(self.posts)}

        return [
            one("dm.send", 40, lambda p: to(p) | {"text": "how are you?"}),
            one("dm.list", 3, lambda p: {"with": self.other(p), "limit": 10}),
            one("typing", 8, to),
            one("presence.get", 5, lambda p: {"users": [self.other(p) for _ in range(3)]}),
            one("profile.get", 8, user),
            one("profile.update", 4, lambda p: {"name": p.handle.title(), "bio": "hello"}),
            one("post.get", 8, post),
            one("post.list", 3, user),
            one("comment.create", 5, lambda p: post(p) | {"text": "well said"}),
            one("comment.list", 2, post),
            one("like.add", 5, post),
            one("like.remove", 2, post),
            one("follow.add", 3, user),
            one("follow.remove", 1, user),
            one("follow.list", 2, lambda p: user(p) | {"direction": "followers"}),
            one("timeline.fetch", 2, lambda p: {"limit": 10}),
            (["post.create", "post.delete"], 4, self.post_and_regret),
        ]

    async def post_and_regret(self, person):
        made = await self.call(person, "post.create", {"text": "what I think"})
        await self.call(person, "post.delete", {"post": made["post"]["id"]})

    def quarrels(self):
        async def act(person):
            for kind in ("block.add", "block.remove"):
                await self.call(person, kind, {"user": self.hurt.handle})

        return [(["block.add", "block.remove"], 1, act)]
