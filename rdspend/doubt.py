"""How sure a breakdown is: bounds and a 90 % interval of every share, and what could still become final training.

Bounds      what the share would be if all unclassified money, and all that may yet turn out to be final training, went one
            way. They take every answer as right
Interval    drawn from how sure the answers are (rdspend.draws), and from the error that estimates of the GPU types had.
            Labels and releases are certain; a review is right nineteen times in twenty, a rule as often as its confidence
            says, a model as often as it was on owners it had not seen. A family that nobody spoke of may be anything
Candidates  families of training that no release claims and no person spoke of, that say they were meant as the final run or are
            the largest of their team
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import product
from typing import Any, Final

import numpy as np

from rdspend.border import literal
from rdspend.draws import MODEL, PART, PERSON, REVIEW_RIGHT, TRAINING, Ints, draw, final_chances, open_rows, shares
from rdspend.engine import Engine
from rdspend.policy import counts_as
from rdspend.schema import ACTIVITIES, GPU_PARTS, SECONDS_PER_HOUR, Candidate, Policy

SHARE: Final = Decimal("0.000001")
MICRO: Final = Decimal("0.000001")
MOST_WHOLE: Final = 2**50
P90: Final = Decimal("1.645")
"""Standard deviations from the middle within which nine in ten of normal errors lie."""

ZERO: Final = Decimal(0)


@dataclass(frozen=True)
class Amounts:
    """What shares are made of, in the policy's unit: of each activity and bucket, and the part of it no bill has shown.

    error  one standard deviation of that part, as a fraction; None: not known
    """

    by_category: Mapping[str, Decimal]
    estimated: Mapping[str, Decimal]
    denominator: Decimal
    error: Decimal | None = None


@dataclass(frozen=True)
class Bounds:
    """Ends of one share."""

    low: Decimal
    high: Decimal
    likely_low: Decimal | None = None
    likely_high: Decimal | None = None


@dataclass(frozen=True)
class Doubt:
    """All that is not known about the shares of one breakdown. `at_stake` is the candidates' amount, in the policy's unit."""

    bounds: Mapping[str, Bounds]
    candidates: tuple[Candidate, ...]
    at_stake: Decimal
    words: str


def relative_error(room: Decimal | None, estimated: Decimal) -> Decimal | None:
    """One standard deviation of estimated money, of how far nine in ten of its errors may move the total."""
    return None if room is None or estimated <= 0 else room / P90 / estimated


def doubt(engine: Engine, policy: Policy, currency: str, amounts: Amounts, rank: str, team: str = "team") -> Doubt:
    """Bounds, interval and candidates. Wants `make_cells` and the views `tags` and `families`.

    rank, team  SQL of a tagger's rank, and of the team as the breakdown names it
    """
    money = policy.unit != "gpu_hours"
    unit = Decimal(10**9) if money else Decimal(GPU_PARTS * SECONDS_PER_HOUR)
    whole = sum((abs(each) for each in amounts.by_category.values()), ZERO) * unit
    scale = 10 ** max(0, len(str(int(whole) // MOST_WHOLE)))
    _gather(engine, "effective" if money else "gpu_part_seconds", scale, rank, team)
    rows = _rows(engine)
    final, why = final_chances(rows)
    found = _listed(engine, rows, why)
    at_stake = sum((Decimal(amount) for _, amount in found), ZERO) * scale / unit
    column = "effective" if money else "gpu_part_seconds"
    credited = engine.value(f"SELECT CAST(sum(least({column}, 0)) AS HUGEINT) FROM job_money WHERE category = 'unclassified'")
    below = Decimal(credited or 0) / unit, sum((Decimal(min(amount, 0)) for _, amount in found), ZERO) * scale / unit
    if amounts.denominator <= 0:
        return Doubt({}, tuple(c for c, _ in found), at_stake, "")
    likely = _likely(policy, amounts, rows, final, unit / scale)
    bounds = {
        name: Bounds(*ends(name, policy, amounts, at_stake, below), *likely.get(name, (None, None)))
        for name in ACTIVITIES
        if name in policy.denominator
    }
    candidates = tuple(c for c, _ in found)
    return Doubt(bounds, candidates, at_stake, _words(policy, currency, amounts, bounds, candidates))


# --- what is not sure -------------------------------------------------------------------------------------------------


def _gather(engine: Engine, amount: str, scale: int, rank: str, team: str) -> None:
    taggers = [t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags ORDER BY 1")]
    kinds = " ".join(f"WHEN {literal(t)} THEN {_kind(t)}" for t in taggers)
    by = f"CASE tagger {kinds} END" if kinds else "0"
    reviews = ", ".join(literal(t) for t in taggers if t.split(".")[0] == "review")
    reviewed = f"CASE WHEN tagger IN ({reviews}) THEN least(confidence, {REVIEW_RIGHT}) ELSE confidence END"
    sure = reviewed if reviews else "confidence"
    word = f"{by} * 1001 + CAST(round({sure} * 1000) AS INTEGER)"
    telling = [t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags WHERE chances IS NOT NULL ORDER BY 1")]
    cut = bool(engine.value("SELECT EXISTS (SELECT 1 FROM cut_job)"))
    # One tagger says one thing of a job that is not cut: nothing to choose from.
    one, one_tells = len(taggers) < 2 and not cut, len(telling) < 2 and not cut
    said = "TRY_CAST(regexp_extract(chances, '{} ([0-9.]+)', 1) AS DOUBLE)"
    engine.run(
        "unsure",
        team=team,
        said=f"SELECT job_key, activity, {word} AS word FROM tags WHERE activity IS NOT NULL"
        if one
        else f"SELECT job_key, activity, arg_min({word}, {rank}) AS word FROM tags WHERE activity IS NOT NULL GROUP BY ALL",
        hint="SELECT job_key, chances FROM tags WHERE chances IS NOT NULL"
        if one_tells
        else f"SELECT job_key, arg_min(chances, {rank}) AS chances FROM tags WHERE chances IS NOT NULL GROUP BY job_key",
        told=", ".join(
            f"COALESCE(CAST(round({said.format(name)} * 100) AS BIGINT), 0) AS c{i}" for i, name in enumerate(ACTIVITIES)
        ),
        means=", ".join(
            f"CAST(sum(weight * COALESCE(c{i}, 0)) * 100 // sum(weight) AS BIGINT) AS told{i}" for i in range(len(ACTIVITIES))
        ),
        training=", ".join(map(literal, TRAINING)),
        amount=f"m.{amount}",
        scale=scale,
        claimed=PERSON * 1001 + 1000,
        jobs="count(DISTINCT m.job_key)" if cut else "count(*)",
    )


def _kind(tagger: str) -> int:
    """People and releases; models; and 0, rules."""
    return {"label": PERSON, "lineage": PERSON, "review": PERSON, "rule": 0}.get(tagger.split(".")[0], MODEL)


def _rows(engine: Engine) -> dict[str, Any]:
    """Columns of `unsure` as arrays, always in one order; chances in parts of a million."""
    found = engine.columns(
        "SELECT * EXCLUDE (effective, parts, jobs), CAST(parts // 3600 AS BIGINT) AS size FROM unsure"
        " ORDER BY family, team, category, activity, kind, training"
    )
    index = {name: number for number, name in enumerate(ACTIVITIES)}
    found["answer"] = np.array([index.get(name, -1) for name in found["activity"]], np.int64)
    found["confidence"] = found["confidence"].astype(np.int64) * (PART // 1000)
    for i in range(len(ACTIVITIES)):
        found[f"told{i}"] = found[f"told{i}"].astype(np.int64) * (PART // 10_000)
    return found


def _likely(
    policy: Policy, amounts: Amounts, rows: Mapping[str, Any], final: Ints, scaled: Decimal
) -> dict[str, tuple[Decimal, Decimal]]:
    """The 90 % interval of each share. `scaled` is how many of the rows' units one unit of the amounts is."""
    chosen, unsure = open_rows(rows, final)
    error = float((amounts.error or ZERO).quantize(MICRO))
    fixed = {
        name: (int(each * scaled), int(amounts.estimated.get(name, ZERO) * scaled) if policy.unit != "gpu_hours" else 0)
        for name, each in amounts.by_category.items()
    }
    for category in set(rows["category"][chosen]):
        here = chosen[rows["category"][chosen] == category]
        sure, estimated = fixed.get(category, (0, 0))
        fixed[category] = (sure - int(rows["amount"][here].sum()), estimated - int(rows["estimated"][here].sum()))
    says = counts_as(policy)
    drawn = draw(unsure, error)
    found = shares(drawn, fixed, [says[activity] for activity in ACTIVITIES], policy.denominator, error)
    return {
        name: (Decimal(low).quantize(SHARE, ROUND_HALF_EVEN), Decimal(high).quantize(SHARE, ROUND_HALF_EVEN))
        for name, (low, high) in found.items()
    }


# --- what could still become final ------------------------------------------------------------------------------------


def _listed(engine: Engine, rows: Mapping[str, Any], why: Mapping[int, str]) -> list[tuple[Candidate, int]]:
    if not why:
        return []
    groups: dict[tuple[str, str], str] = {
        (str(rows["family"][number]), str(rows["team"][number])): said for number, said in why.items()
    }
    stages = {(str(rows["family"][n]), str(rows["team"][n]), int(rows["training"][n]), int(rows["kind"][n])) for n in why}
    found: dict[tuple[str, str], list[int]] = {}
    wanted = ", ".join(literal(family) for family, _ in sorted(groups))
    for family, team, training, kind, jobs, amount, effective, parts in engine.rows(
        "SELECT family, team, training, kind, jobs, amount, effective, parts FROM unsure"
        f" WHERE activity = 'exploration' AND family IN ({wanted})"
    ):
        if (family, team, training, kind) in stages:
            sums = found.setdefault((family, team), [0, 0, 0, 0])
            for i, each in enumerate((jobs, amount, effective, parts)):
                sums[i] += int(each)
    listed = [
        (
            Candidate(
                family,
                team,
                groups[family, team],
                jobs,
                Decimal(effective).scaleb(-9),
                (Decimal(parts) / (GPU_PARTS * SECONDS_PER_HOUR)).quantize(MICRO, ROUND_HALF_EVEN),
            ),
            amount,
        )
        for (family, team), (jobs, amount, effective, parts) in found.items()
    ]
    return sorted(listed, key=lambda each: (-each[1], each[0].family, each[0].team))


# --- bounds and words -------------------------------------------------------------------------------------------------


def ends(
    name: str, policy: Policy, amounts: Amounts, at_stake: Decimal, below: tuple[Decimal, Decimal] = (ZERO, ZERO)
) -> tuple[Decimal, Decimal]:
    """Lowest and highest share, over all ways that unclassified work and candidates may turn out as a whole.

    below  what of the unclassified and of the candidates is below zero: it may turn out otherwise than the rest
    """
    whole, own = amounts.denominator, amounts.by_category.get(name, ZERO)
    unknown = amounts.by_category.get("unclassified", ZERO)
    says, of = counts_as(policy), policy.denominator
    was, becomes = says["exploration"], says["run"]
    # By what a role counts as too: a release may claim what nobody could classify.
    ways = tuple(dict.fromkeys((name, *says.values())))
    unsure = [each for each in (unknown - below[0], below[0]) if each]
    staked = [each for each in (at_stake - below[1], below[1]) if each and was != becomes]
    ends = {(own / whole).quantize(SHARE, ROUND_HALF_EVEN)}
    for goes, claimed in product(product(ways, repeat=len(unsure)), product((False, True), repeat=len(staked))):
        moved = [(each, "unclassified", way) for each, way in zip(unsure, goes, strict=True)]
        moved += [(each, was, becomes) for each, final in zip(staked, claimed, strict=True) if final]
        part = own + sum((each * ((to == name) - (since == name)) for each, since, to in moved), ZERO)
        left = whole + sum((each * ((to in of) - (since in of)) for each, since, to in moved), ZERO)
        if left > 0:
            ends.add((part / left).quantize(SHARE, ROUND_HALF_EVEN))
    return min(ends), max(ends)


def _words(
    policy: Policy, currency: str, amounts: Amounts, bounds: Mapping[str, Bounds], candidates: Sequence[Candidate]
) -> str:
    final = bounds.get("final_training")
    if final is None:
        return ""
    share = amounts.by_category.get("final_training", ZERO) / amounts.denominator
    whole = policy.denominator_words.split(":")[0].split(";")[0] or "100 %"
    unit = "GPU-hours" if policy.unit == "gpu_hours" else currency
    open_ = [f"{amounts.by_category.get('unclassified', ZERO):,.0f} {unit} unclassified"]
    if candidates:
        several = "1 candidate" if len(candidates) == 1 else f"{len(candidates):,} candidates"
        open_.append(f"{several} for a final run")
    words = [f"Final training is {_percent(share)} of {whole}"]
    if final.likely_low is not None and final.likely_high is not None:
        estimated = any(amounts.estimated.values()) and policy.unit != "gpu_hours"
        price = (
            ", and from how far estimates were from their bills"
            if estimated and amounts.error is not None
            else "; how far the estimates in it may be off is not known yet"
            if estimated
            else ""
        )
        likely = f"{final.likely_low * 100:.1f} to {_percent(final.likely_high)}"
        words.append(f"; 90 % interval {likely}, drawn family by family from how sure each answer is{price}")
    return (
        f"{''.join(words)}. Where the answers given are right, it can't be below {_percent(final.low)} or above "
        f"{_percent(final.high)}, whatever {' and '.join(open_)} turn out to be."
    )


def _percent(share: Decimal) -> str:
    return f"{share * 100:.1f} %"
