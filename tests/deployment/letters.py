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
        self.posted = [f"to everybody {n}" for n in range(people)]
        self.stopped = asyncio.Event()
        self.writers = [asyncio.create_task(self.write(person)) for person in self.people]

    async def write(self, person):
        """Says something to everybody, and then writes to the others in turn, one message after the other."""
        await person.call("post.create", {"text": self.posted[self.people.index(person)]})
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
        rows = events_of(directory, "id, type, v, user_key, body IS NULL, to_json(body)->>'$.text'")
        # Nobody here sent the others.
        rows = [row for row in rows if row[1] not in ("user_session", "audit.event")]
        keys, accepted, faults = {row[0]: row[3] for row in rows}, self.accepted(), []
        if len(keys) != len(rows):
            faults.append(f"the archive's view shows {len(rows) - len(keys)} events again")
        if lost := accepted - keys.keys():
            faults.append(f"{len(lost)} of {len(accepted)} accepted messages are not in the archive")
        of_people = [{keys[mid] for mid in person.accepted if mid in keys} for person in self.people]
        if any(len(of_one) != 1 for of_one in of_people) or len(set().union(*of_people)) != len(self.people):
            faults.append(f"not one pseudonym for each: {of_people}")
        # A kill may cut off the frame that says `accepted`; then the same was sent again, and accepted under another
        # id.
        unheard = keys.keys() - accepted
        if strange := [mid for mid in unheard if keys[mid] not in set().union(*of_people)]:
            faults.append(f"the archive holds records of people that nobody is: {strange}")
        if wordy := [row for row in rows if row[1] != "post.create" and not row[4]]:
            faults.append(f"bodies that hold private words or name somebody: {wordy[:3]}")
        if (texts := {row[5] for row in rows if row[1] == "post.create"}) != set(self.posted):
            faults.append(f"not what everybody may read: {texts}")
        if versions := {row[2] for row in rows} - {2}:
            faults.append(f"records of other versions: {versions}")
        if named := [row for row in events_of(directory, "*") if any(name in str(row) for name in self.names)]:
            faults.append(f"a handle is in the archive: {named[:3]}")
        print(f"{self.count()} messages; {len(accepted)} ids accepted, {len(keys)} archived, {len(unheard)} of them without an accepted")
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
