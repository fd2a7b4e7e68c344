"""Compares two files of decisions, one JSON object per line, field by field: compare.py WEIR PEER

Left out of the comparison are `episode_id` and `config_digest`, which the peers do not make; differences in evidence are
counted apart.
"""

import collections
import json
import sys

SHOWN = 8


def read(path):
    """Decisions by user and transaction, and how many were repeated."""
    decisions, repeated = {}, 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            decision = json.loads(line)
            key = decision["user_id"], decision["tx_id"]
            repeated += key in decisions
            decisions[key] = decision
    return decisions, repeated


def stripped(decision):
    """The decision without what is not compared, and its evidence."""
    evidence = [signal.pop("evidence") for signal in decision["signals"]]
    decision.pop("config_digest", None)
    for signal in decision["signals"]:
        signal.pop("episode_id", None)
    return decision, evidence


def main():
    (weir, _), (peer, repeated) = read(sys.argv[1]), read(sys.argv[2])
    for name, decisions in ("weir", weir), ("peer", peer):
        print(name, dict(collections.Counter(decision["action"] for decision in decisions.values())))
    bodies = actions = evidences = 0
    for key in weir.keys() & peer.keys():
        (ours, our_evidence), (theirs, their_evidence) = stripped(weir[key]), stripped(peer[key])
        actions += ours["action"] != theirs["action"]
        evidences += our_evidence != their_evidence
        if ours != theirs:
            bodies += 1
            if bodies <= SHOWN:
                print(key, {name: (ours[name], theirs.get(name)) for name in ours if ours[name] != theirs.get(name)})
    print(f"{len(peer)} decisions, {repeated} repeated, {len(weir.keys() - peer.keys())} missing,",
          f"{len(peer.keys() - weir.keys())} too many; different in body {bodies}, action {actions}, evidence {evidences}")
    return 1 if bodies or repeated or weir.keys() != peer.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
