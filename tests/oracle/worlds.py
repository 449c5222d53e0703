"""Small worlds for the oracle and the engine, made by hypothesis.

Three UTC days around the end of September 2026, at most four nodes, eight jobs and twelve charges, and in them all that
made an attribution wrong before: credits, missing hours, oversubscribed nodes, nodes that come and go in mid-hour, hourly,
daily and monthly charges and such as start at any second, pools, halves, thirds and sevenths of GPUs, jobs over the end of
the month, jobs that still run, two currencies, two sources, billed cost that isn't the effective cost, nodes of unknown
capacity, nodes without GPUs, jobs that are billed by their own resource, and rates for hours that no bill covers.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st
from oracle.attribution_oracle import DAY, HOUR, PARTS_OF_A_GPU, Charge, Job, Node, Placement, Rate, World, month_span

DAYS = 3
START = int(datetime(2026, 9, 29, tzinfo=UTC).timestamp())
END = START + DAYS * DAY

# Most of what happens, happens around the end of the month, so that it meets.
BUSY = (START + 2 * DAY - 3 * HOUR, START + 2 * DAY + 3 * HOUR)

MONTHS = ("2026-09", "2026-10")
SHARE_RULES = ("gpu", "cpu", "dominant")

# Whole GPUs, halves, thirds, sevenths and none; some hold more than their node has.
GPU_PARTS = st.one_of(
    st.sampled_from([PARTS_OF_A_GPU // 2, PARTS_OF_A_GPU // 3, 2 * PARTS_OF_A_GPU // 7, 0]),
    st.sampled_from([4, 1, 2, 3, 8, 8]).map(lambda gpus: gpus * PARTS_OF_A_GPU),
)

AMOUNTS = st.one_of(
    st.integers(-7, 7),
    st.sampled_from([1_000_000_007, 98_320_000_000, -2_000_000_011]),
    st.integers(-(10**13), 10**13),
)


def instants(first: int = BUSY[0], last: int = BUSY[1]) -> st.SearchStrategy[int]:
    """Full hours, thirds of hours, and any second."""
    return st.one_of(
        st.integers(-(-first // HOUR), last // HOUR).map(lambda hour: hour * HOUR),
        st.integers(-(-first // 1200), last // 1200).map(lambda third: third * 1200),
        st.integers(first, last),
    )


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    anywhere = draw(st.integers(0, 5)) == 5
    start = draw(instants(START, END - 1) if anywhere else instants())
    long = draw(st.sampled_from([5 * HOUR, DAY, HOUR, 1800, 600]))
    return start, draw(st.one_of(st.just(start + long), instants(start + 1, start + 6 * HOUR)))


# --- nodes ------------------------------------------------------------------------------------------------------------


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[int | None, int | None]]:
    """When a node's records say it was up: one span, open or not, or two with or without a pause between."""
    kind = draw(st.sampled_from(["always", "always", "from", "until", "between", "twice", "renewed"]))
    start, end = draw(spans())
    if kind in ("twice", "renewed"):
        again = draw(instants(end, end + 5 * HOUR)) if kind == "twice" else end
        return [(start, end), (again, draw(st.sampled_from([None, again + 1, again + 5 * HOUR])))]
    return [(None if kind in ("always", "until") else start, None if kind in ("always", "from") else end)]


@st.composite
def node_records(draw: st.DrawFn, number: int, clusters: list[str]) -> list[Node]:
    """One node's records. Its kind stays: GPUs known, unknown, or none; a pool is of one kind."""
    kind = draw(st.sampled_from(["gpu", "gpu", "gpu", "unknown", "cpu"]))
    cluster, name = draw(st.sampled_from(clusters)), f"n{number}"
    pool = {"gpu": "pool-known", "unknown": "pool-unknown", "cpu": draw(st.sampled_from(["pool-known", "pool-cpu"]))}[kind]
    in_pool = draw(st.booleans())
    gpus = {"gpu": draw(st.sampled_from([1, 2, 4, 8])), "unknown": None, "cpu": 0}[kind]
    cpus = {"gpu": draw(st.sampled_from([None, 32, 7])), "unknown": None, "cpu": 48}[kind]
    resources = [f"i-{number}", f"i-{number}b", f"i-{max(number - 1, 0)}", None]
    records = []
    for start, end in draw(lives()):
        resource = draw(st.sampled_from([resources[0], resources[0], resources[0], *resources[1:]]))
        grown = gpus * 2 if gpus and records and draw(st.integers(0, 4)) == 0 else gpus
        records.append(
            Node(
                cluster,
                name,
                resource_id=resource,
                pool=pool if in_pool else None,
                start=start,
                end=end,
                gpus=grown,
                cpus=cpus,
                memory_mib=None if kind == "unknown" else draw(st.sampled_from([None, 1000])),
                gpu_type="H100" if kind == "gpu" else None,
                instance_type=draw(st.sampled_from(["large", "small"])),
                queue=draw(st.sampled_from([None, "long", "short,long"])),
            )
        )
    return records


# --- jobs -------------------------------------------------------------------------------------------------------------


@st.composite
def jobs_and_placements(draw: st.DrawFn, nodes: list[Node], clusters: list[str]) -> tuple[list[Job], list[Placement]]:
    jobs, placements = [], []
    places = sorted({(n.cluster, n.node) for n in nodes})
    capacity = {(n.cluster, n.node): n.gpus for n in nodes}
    for number in range(draw(st.sampled_from([3, 2, 4, 5, 6, 8, 1, 0]))):
        cluster = draw(st.sampled_from([*(place[0] for place in places), clusters[-1]]))
        key = f"{cluster}/{number}/{START - 60}"
        start, end = draw(spans())
        last = draw(st.sampled_from([end, end, end, None]))
        resource = draw(st.sampled_from([None, None, None, "arn:job/1", "arn:job/2", "i-0"]))
        started = resource is None or draw(st.integers(0, 4)) > 0
        jobs.append(Job(key, cluster, start if started else None, last if started else None, resource))
        here = [place for place in places if place[0] == cluster]
        if not started or not here:
            continue
        for place in draw(st.lists(st.sampled_from(here), min_size=1, max_size=2, unique=True)):
            held = draw(held_on(capacity[place]))
            for first, until in draw(cuts(start, last)):
                placements.append(Placement(key, *place, first, until, *held))
    return jobs, placements


@st.composite
def held_on(draw: st.DrawFn, gpus: int | None) -> tuple[int, int | None, int | None]:
    """What a placement holds: GPU parts, CPUs, memory."""
    memory = draw(st.sampled_from([None, 10, 333, 900]))
    if gpus == 0:
        return 0, draw(st.sampled_from([1, 7, 16, 48])), memory
    return draw(GPU_PARTS), draw(st.sampled_from([None, 1, 5, 20])), memory


@st.composite
def cuts(draw: st.DrawFn, start: int, end: int | None) -> list[tuple[int, int | None]]:
    """A placement in one span, or in two that follow each other."""
    if end is not None and end - start > 2 and draw(st.integers(0, 5)) == 0:
        middle = draw(st.integers(start + 1, end - 1))
        return [(start, middle), (middle, end)]
    return [(start, end)]


# --- charges ----------------------------------------------------------------------------------------------------------


@st.composite
def periods(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Charge periods of one resource: a run of hours with some missing, days, a month, or any span."""
    kind = draw(st.sampled_from(["days", "hours", "hours", "month", "any"]))
    if kind == "month":
        return [month_span(draw(st.sampled_from(MONTHS)))]
    if kind == "any":
        return [draw(spans())]
    length = HOUR if kind == "hours" else DAY
    first = draw(st.integers(START // length, END // length - 1) if kind == "days" else st.integers(*(b // HOUR for b in BUSY)))
    steps = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True))
    return [((first + step) * length, (first + step + 1) * length) for step in sorted(steps)]


@st.composite
def charges(draw: st.DrawFn, nodes: list[Node], jobs: list[Job]) -> list[Charge]:
    on_nodes = sorted({n.resource_id for n in nodes if n.resource_id} | {n.pool for n in nodes if n.pool})
    on_jobs = sorted({j.resource_id for j in jobs if j.resource_id})
    resources = [*on_nodes * 8, *on_jobs, "bucket-1", None]
    made: list[Charge] = []
    for _ in range(draw(st.integers(1, 5))):
        resource = draw(st.sampled_from(resources))
        source, currency = (
            draw(st.sampled_from(["aws", "aws", "coreweave"])),
            draw(st.sampled_from(["USD", "USD", "EUR"])),
        )
        unused = draw(st.sampled_from([(None, None)] * 12 + [("Used", None), ("Unused", None), (None, "Unused")]))
        late = draw(st.integers(0, 9)) == 0
        for start, end in draw(periods()):
            effective = draw(AMOUNTS)
            month = datetime.fromtimestamp(start, UTC).strftime("%Y-%m")
            made.append(
                Charge(
                    source,
                    MONTHS[1] if late else month,
                    len(made) + 1,
                    currency,
                    effective,
                    draw(st.one_of(st.just(effective), st.just(0), AMOUNTS)),
                    start,
                    end,
                    resource_id=resource,
                    service=draw(st.sampled_from([None, "compute", "storage"])),
                    commitment_status=unused[0],
                    capacity_status=unused[1],
                )
            )
    return [charge for charge in made if charge.period in MONTHS][:12]


# --- rates ------------------------------------------------------------------------------------------------------------


@st.composite
def rates(draw: st.DrawFn) -> list[Rate]:
    """None, or a price for every node and hour, with more and less specific ones beside it, some dated."""
    if draw(st.booleans()):
        return []
    made: list[Rate] = []

    def add(start: int | None, end: int | None, **selector: str) -> None:
        price = draw(st.sampled_from([1, 7, 2_490_000_001, 31_400_000_000]))
        unit = draw(st.sampled_from(["price_per_gpu_hour", "price_per_node_hour"]))
        source, currency = draw(st.sampled_from(["rate_card", "aws"])), draw(st.sampled_from(["USD", "EUR"]))
        made.append(Rate(source, len(made) + 1, currency, start=start, end=end, **{unit: price}, **selector))

    for instance_type in ("large", "small"):
        change = draw(st.one_of(st.none(), instants()))
        add(None, change, instance_type=instance_type)
        if change is not None:
            add(change, None, instance_type=instance_type)
    if draw(st.booleans()):
        add(None, None, gpu_type="H100")
    if draw(st.booleans()):
        add(*draw(spans()), queue="long")
    if draw(st.booleans()):
        add(*draw(spans()), node="n0")
    return made


@st.composite
def worlds(draw: st.DrawFn) -> World:
    clusters = draw(st.sampled_from([["a"], ["a"], ["a", "b"]]))
    nodes = [r for number in range(draw(st.sampled_from([1, 1, 2, 3, 4]))) for r in draw(node_records(number, clusters))]
    jobs, placements = draw(jobs_and_placements(nodes, clusters))
    return World(
        now=draw(st.one_of(instants(), instants(START + DAY, END + DAY))),
        months=MONTHS,
        share_rule=draw(st.sampled_from(SHARE_RULES)),
        charges=tuple(draw(charges(nodes, jobs))),
        nodes=tuple(nodes),
        jobs=tuple(jobs),
        placements=tuple(placements),
        rates=tuple(draw(rates())),
    )
