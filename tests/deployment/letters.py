"""People who write to each other until stopped, and the checks of what must be found afterwards."""

import asyncio
import itertools
from collections import Counter

from archive import events_of
from client import people_of

PEOPLE = 8


class Letters:
    """Begins to write at once."""

    def __init__(self, address, people=PEOPLE):
        self.names = [f"person{n}" for n in range(people)]
        self.people = people_of(address, self.names)
        self.said = {pair: [] for pair in itertools.permutations(self.names, 2)}
        self.stopped = asyncio.Event()
        self.writers = [asyncio.create_task(self.write(person)) for person in self.people]

    async def write(self, person):
        """Writes to the others in turn, one message after the other."""
        others = [name for name in self.names if name != person.handle]
        for n in itertools.count():
            if self.stopped.is_set():
                return
            to = others[n % len(others)]
            text = f"{person.handle} {n}"
            reply = await person.call("dm.send", {"to": to, "text": text})
            if not reply["ok"]:
                person.wrong.append(f"refused: {reply}")
            self.said[(person.handle, to)].append(text)

    async def stop(self):
        """Waits until everything has its reply."""
        self.stopped.set()
        await asyncio.wait_for(asyncio.gather(*self.writers), timeout=120)

    def count(self):
        return sum(len(texts) for texts in self.said.values())

    def accepted(self):
        """The ids that were accepted."""
        return {mid for person in self.people for mid in person.accepted}

    async def faults(self):
        """What is missing or double in people's lists and among their pushes, and what no client must see."""
        faults = []
        for one, other in itertools.combinations(self.people, 2):
            found = Counter(await asyncio.wait_for(listed(one, other.handle), timeout=60))
            pairs = [(one.handle, other.handle), (other.handle, one.handle)]
            wanted = Counter((a, text) for a, b in pairs for text in self.said[(a, b)])
            if found != wanted:
                faults.append(f"{one.handle} and {other.handle}: missing {wanted - found}, too many {found - wanted}")
        for person in self.people:
            faults += [f"{person.handle}: {what}" for what in person.wrong]
            got = Counter(body["message"]["text"] for _, kind, body in person.pushes if kind == "dm.received")
            wanted = Counter(text for (_, to), texts in self.said.items() if to == person.handle for text in texts)
            if got != wanted:
                faults.append(f"{person.handle} was pushed too little {wanted - got} or too much {got - wanted}")
        return faults

    async def close(self):
        for person in self.people:
            await person.close()

    def archived(self, directory):
        """Prints how many of their ids the data team finds in an archive; returns the faults."""
        # The edge itself sends these; no client did.
        rows = [(mid, text) for mid, kind, text in events_of(directory, "id, type, body.text") if kind != "user_session"]
        texts, accepted, faults = dict(rows), self.accepted(), []
        if len(texts) != len(rows):
            faults.append(f"the archive's view shows {len(rows) - len(texts)} events again")
        if lost := accepted - texts.keys():
            faults.append(f"{len(lost)} of {len(accepted)} accepted messages are not in the archive")
        # A kill may cut off the frame that says `accepted`; then the same was sent again, and accepted under another
        # id.
        unheard = texts.keys() - accepted
        heard = {texts[mid] for mid in texts.keys() & accepted}
        if strange := [texts[mid] for mid in unheard if texts[mid] not in heard]:
            faults.append(f"the archive holds records that nobody sent: {strange}")
        print(f"{self.count()} messages; {len(accepted)} ids accepted, {len(texts)} archived, {len(unheard)} of them without an accepted")
        return faults


async def listed(client, other):
    """All messages between two, newest first."""
    texts, before = [], None
    while True:
        body = {"with": other, "limit": 100} | ({"before": before} if before else {})
        page = (await client.call("dm.list", body))["body"]
        texts += [(item["from"], item["text"]) for item in page["items"]]
        before = page.get("next")
        if not before:
            return texts
