"""Labels: what someone said, in a CSV or in the job's own text, who it was, and what nobody could read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdspend.errors import BadRecord, ConfigError, RdspendError
from rdspend.schema import ACTIVITIES, GPU_PARTS, JOBS, STAGES, TAGS, Location
from taggers.label import Label

LABELS = Path(__file__).parent / "fixtures" / "label" / "labels.csv"
SQL_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "map": "MAP(VARCHAR, VARCHAR)",
}


def jobs_of(*rows):
    """A relation with the columns of JOBS. Each row is a dict of them; the rest has a plain value or is null."""
    connection = duckdb.connect(config={"enable_external_access": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f'"{c.name}" {SQL_TYPES[c.type]}' for c in JOBS.columns)
    connection.execute(f"CREATE TABLE jobs ({columns})")
    for number, row in enumerate(rows, start=1):
        times = {f"{what}_time": f"2026-10-01 0{hour}:00:00+00" for hour, what in enumerate(("submit", "start", "end"))}
        job = {"cluster": "h100", "job_id": str(number), "gpu_parts": 8 * GPU_PARTS, "outcome": "completed", **times, **row}
        job.setdefault("job_key", f"{job['cluster']}/{job['job_id']}/{1790000000 + number}")
        labels = job.pop("labels", None)
        names = ", ".join(f'"{name}"' for name in [*job, "labels"])
        keys, texts = (list(labels), list(labels.values())) if labels is not None else (None, None)
        marks = ", ".join("?" * len(job))
        connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks}, map(?, ?))", [*job.values(), keys, texts])
    return connection.table("jobs")


def tags(label, jobs):
    relation = label.tag(jobs)
    assert relation.columns == ["job_key", "activity", "stage", "confidence", "evidence", "version"]
    rows = relation.fetchall()
    found = {row[0]: row[1:] for row in rows}
    assert len(found) == len(rows), "at most one row a job"
    return found


def tag_of(labels, **settings):
    """Activity and stage of one job with these labels; None when there is no tag."""
    found = tags(Label(**settings), jobs_of({"labels": labels}))
    return next(iter(found.values()))[:2] if found else None


@pytest.fixture
def labelled(tmp_path):
    def write(content, **settings):
        file = tmp_path / "labels.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Label(path=Location(file), **settings)

    return write


# --- the CSV ----------------------------------------------------------------------------------------------------------


def test_a_csv_labels_jobs_arrays_tasks_and_single_runs():
    jobs = jobs_of(
        {"job_id": "4711"},
        {"job_id": "4712"},
        {"job_id": "4713"},
        {"job_id": "4720_1", "array_job_id": "4720"},
        {"job_id": "4720_3", "array_job_id": "4720"},
        {"job_id": "4730"},
        {"job_id": "4731"},
        {"job_id": "4740", "job_key": "h100/4740/1790000000"},
        {"job_id": "4740", "job_key": "h100/4740/1790009999"},
        {"job_id": "4711", "cluster": "a100"},
    )
    found = {key.split("/1790")[0]: row for key, row in tags(Label(path=Location(LABELS)), jobs).items()}
    assert {key: row[:2] for key, row in found.items()} == {
        "h100/4711": ("final_training", "pretraining"),
        "h100/4712": ("exploration", None),
        "h100/4713": (None, "finetuning"),
        "h100/4720_1": ("exploration", None),
        "h100/4720_3": ("evaluation", None),
        "h100/4740": ("evaluation", None),
    }
    said = "labels.csv:2 by lead of pretraining: activity 'Final-Training' stage 'pretraining'"
    assert found["h100/4711"][2:4] == (1.0, said)
    assert found["h100/4740"][3] == "labels.csv:10: activity 'eval'"


def test_every_run_of_a_requeued_job_has_its_label_and_submit_time_picks_one(labelled):
    jobs = jobs_of(
        {"job_id": "7", "job_key": "h100/7/1790812800"},  # 2026-10-01T00:00:00Z
        {"job_id": "7", "job_key": "h100/7/1790899200"},
    )
    both = labelled("cluster,job_id,activity\nh100,7,eval\n")
    assert len(tags(both, jobs)) == 2
    one = labelled("cluster,job_id,activity,submit_time\nh100,7,eval,2026-10-01T02:00:00.2+02:00\n")
    assert list(tags(one, jobs)) == ["h100/7/1790812800"]
    mixed = labelled("cluster,job_id,activity,submit_time\nh100,7,eval,\nh100,7,data,2026-10-01 00:00:00Z\n")
    assert {key: row[0] for key, row in tags(mixed, jobs).items()} == {
        "h100/7/1790812800": "data_generation",
        "h100/7/1790899200": "evaluation",
    }


def test_a_job_id_with_slashes_is_not_mistaken_for_a_job_key(labelled):
    jobs = jobs_of({"job_id": "team/train/0", "job_key": "k8s/team/train/0/1790000001", "cluster": "k8s"})
    assert len(tags(labelled("cluster,job_id,activity\nk8s,team/train/0,eval\n"), jobs)) == 1
    assert len(tags(labelled("cluster,job_id,activity\n,k8s/team/train/0/1790000001,eval\n"), jobs)) == 1
    assert tags(labelled("cluster,job_id,activity\n,team/train/0,eval\n"), jobs) == {}
    other = labelled("cluster,job_id,activity\nk8s,x/5,eval\n")
    run_of_x = jobs_of({"job_id": "x", "job_key": "k8s/x/5", "cluster": "k8s"})
    assert tags(other, run_of_x) == {}
    assert [f.kind for f in other.check(run_of_x)] == ["unmatched"]


def test_two_lines_may_repeat_or_complete_each_other(labelled):
    text = "cluster,job_id,activity,stage\nh100,1,eval,\nh100,1,evaluation,\nh100,1,,data\n"
    found = tags(labelled(text), jobs_of({}))["h100/1/1790000001"]
    assert found[:2] == ("evaluation", "data")
    assert found[3] == "labels.csv:2: activity 'eval'; labels.csv:3: activity 'evaluation'; labels.csv:4: stage 'data'"


HEADER = "cluster,job_id,activity,stage,who\n"


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("", None, "empty; expected a header cluster,job_id,activity,stage,who"),
        ("\n\n", None, "empty"),
        ("cluster,job_id\n", 1, "column 'activity' or 'stage' is missing"),
        ("cluster,activity\n", 1, "column 'job_id' is missing; found cluster,activity"),
        ("cluster,job_id,activty\n", 1, "unknown column 'activty'; did you mean 'activity'?"),
        ("cluster,job_id,activity,activity\n", 1, "column 'activity' twice"),
        (HEADER + "h100,1,evalution,,\n", 2, "activity: unknown word 'evalution'; did you mean 'evaluation'?"),
        (HEADER + "h100,1,,serv,\n", 2, "stage: unknown word 'serv'; did you mean 'serve'?"),
        (HEADER + "h100,1,train,,\n", 2, "expected exploration, data_generation, evaluation, final_training, inference"),
        (HEADER + "h100,1,sft,pretraining,\n", 2, "activity 'sft' says the stage finetuning, the stage is 'pretraining'"),
        (HEADER + "h100,1,eval\n", 2, "found 3 cells, expected 5"),
        (HEADER + "h100,1,eval,,,\n", 2, "found 6 cells, expected 5"),
        (HEADER + "h100,,eval,,\n", 2, "job_id is empty"),
        (HEADER + ",1,eval,,\n", 2, "cluster is empty, and job_id '1' is no job_key"),
        (HEADER + "h100,1,eval,,\n\nh100,1,data,,\n", 4, "says data_generation of h100/1, line 2 says evaluation"),
        (HEADER + "h100,1,,data,\nh100,1,,other,\n", 3, "says other of h100/1, line 2 says data"),
        (HEADER + 'h100,1,eval,,"two\nlines"\nh100,2,x,,\n', 4, "unknown word 'x'"),
        (HEADER + 'h100,1,eval,,"open\n', 2, "not CSV"),
        (HEADER + 'h100,1,"ev"al,,\n', 2, "not CSV"),
        (HEADER.encode() + b"h100,1,eval,,caf\xe9\n", 2, "not UTF-8"),
        (HEADER + "h100,1,eval,,\0\n", 2, "a NUL character"),
        ("cluster,job_id,activity,submit_time\nh100,1,eval,yesterday\n", 2, "expected ISO 8601"),
        ("cluster,job_id,activity,submit_time\nh100,1,eval,2026-10-01T00:00:00\n", 2, "without a zone"),
    ],
)
def test_a_bad_line_is_refused_with_file_line_and_what_is_expected(labelled, content, line, said):
    label = labelled(content)
    with pytest.raises(BadRecord) as refused:
        label.tag(jobs_of({}))
    assert (refused.value.line, refused.value.file) == (line, str(label.path))
    assert said in str(refused.value)


def test_a_missing_label_file_is_an_error_and_no_file_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"taggers\.label\.path: can't read .*none\.csv: No such file"):
        Label(path=Location(tmp_path / "none.csv")).tag(jobs_of({}))
    assert tags(Label(), jobs_of({})) == {}


@pytest.mark.parametrize("content", [HEADER, "\ufeff" + HEADER, HEADER.replace("\n", "\r\n") + "h100,9,eval,,\r\n"])
def test_a_byte_order_mark_windows_lines_and_labels_of_other_jobs_are_fine(labelled, content):
    assert tags(labelled(content), jobs_of({})) == {}


def test_tags_have_the_types_of_the_table(labelled):
    types = {c.name: SQL_TYPES[c.type] for c in TAGS.columns}
    for label in (Label(), labelled(HEADER + "h100,1,eval,,\n")):
        tagged = label.tag(jobs_of({}))
        assert [str(t) for t in tagged.types] == [types[name] for name in tagged.columns]


# --- the job's own text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "purpose=eval",
        "purpose:eval",
        "PURPOSE = Evaluation",
        "purpose: eval of the 7B",
        "team=nlp,purpose=eval;run=3",
        "nightly purpose=eval, thanks",
        '{"team": "nlp", "purpose": "eval"}',
        "{'purpose': 'eval'}",
        'purpose="eval"',
        "*purpose=eval",
        "(purpose=eval)",
        "purpose=eval purpose=evaluation",
        "purpose=eval.",
        "line one\npurpose=e_v-a.l",
    ],
)
@pytest.mark.parametrize("place", ["admin_comment", "comment", "extra", "wckey"])
def test_a_purpose_is_read_from_free_text_in_every_usual_form(text, place):
    assert tag_of({place: text}) == ("evaluation", None)


@pytest.mark.parametrize(
    "text",
    ["", "eval", "evaluate purpose later", "my_purpose=eval", "purposes=eval", "purpose=", "purpose=none", "purpose eval"],
)
def test_free_text_without_a_purpose_is_no_tag(text):
    assert tag_of({"comment": text}) is None


@pytest.mark.parametrize(
    ("labels", "answer"),
    [
        ({"activity": "final training"}, ("final_training", None)),
        ({"activity": "Final_Training", "stage": "Pretrain"}, ("final_training", "pretraining")),
        ({"purpose": "data-gen"}, ("data_generation", None)),
        ({"stage": "rlhf"}, (None, "reinforcement_learning")),
        ({"comment": "stage=sft"}, (None, "finetuning")),
        ({"comment": "purpose=sft"}, (None, "finetuning")),
        ({"comment": "purpose=ablation stage=mid-training"}, ("exploration", "midtraining")),
        ({"comment": "purpose=sft stage=data"}, (None, "data")),
        ({"comment": "purpose=evaluation stage=evaluation"}, ("evaluation", "evaluation")),
        ({"activity": "unknown", "comment": "purpose=eval"}, ("evaluation", None)),
        ({"who": "a person"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_labels_say_an_activity_a_stage_or_both(labels, answer):
    assert tag_of(labels) == answer


ORDER = [
    ({"activity": "inference"}, "inference"),
    ({"purpose": "exploration"}, "exploration"),
    ({"admin_comment": "purpose=evaluation"}, "evaluation"),
    ({"comment": "purpose=final"}, "final_training"),
    ({"extra": "purpose=data"}, "data_generation"),
    ({"wckey": "purpose=inference"}, "inference"),
]


def test_a_higher_place_overrules_a_lower_one(labelled):
    for first in range(len(ORDER)):
        labels = {k: v for place, _ in ORDER[first:] for k, v in place.items()}
        assert tag_of(labels) == (ORDER[first][1], None)
    jobs = jobs_of({"labels": {"activity": "inference", "comment": "stage=sft"}})
    found = tags(labelled(HEADER + "h100,1,eval,,me\n"), jobs)["h100/1/1790000001"]
    assert found[:2] == ("evaluation", "finetuning")
    assert found[3] == "labels.csv:2 by me: activity 'eval'; label comment: stage=sft"


def test_a_higher_place_that_nobody_understands_is_not_passed_over():
    assert tag_of({"admin_comment": "purpose=frobnicate", "comment": "purpose=eval"}) is None
    assert tag_of({"admin_comment": "purpose=eval purpose=data", "comment": "purpose=eval"}) is None
    assert tag_of({"admin_comment": "purpose=frobnicate", "comment": "stage=sft"}) == (None, "finetuning")


def test_the_evidence_says_the_place_the_text_and_who():
    jobs = jobs_of(
        {"labels": {"activity": "eval", "who": "a reviewer"}},
        {"labels": {"comment": "purpose=eval " + "x" * 500, "who": "a reviewer"}},
    )
    said = [row[3] for _, row in sorted(tags(Label(), jobs).items())]
    assert said == ["label activity by a reviewer: eval", "label comment: " + ("purpose=eval " + "x" * 187) + "..."]


def test_keys_fields_and_spellings_are_the_users():
    assert tag_of({"comment": "goal=eval"}) is None
    assert tag_of({"comment": "goal=eval"}, keys=("purpose", "goal")) == ("evaluation", None)
    assert tag_of({"lab.example/goal": "eval"}, keys=("lab.example/goal",)) == ("evaluation", None)
    assert tag_of({"labXexample/goal": "x", "comment": "labXexample/goal=eval"}, keys=("lab.example/goal",)) is None
    assert tag_of({"note": "purpose=eval"}) is None
    assert tag_of({"note": "purpose=eval"}, fields=("note",)) == ("evaluation", None)
    assert tag_of({"comment": "purpose=Post Train"}, spellings={"posttrain": "finetuning"}) is None
    assert tag_of({"comment": "purpose='Post Train'"}, spellings={"post_train": "finetuning"}) == (None, "finetuning")
    assert tag_of({"comment": "purpose=評価"}, spellings={"評価": "evaluation"}) == ("evaluation", None)
    assert tag_of({"comment": "purpose=research"}, spellings={"research": "other"}) == (None, "other")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"spellings": {"bench": "evalution"}}, "taggers.label.spellings.bench: found 'evalution'; did you mean 'evaluation'?"),
        ({"keys": ("a b",)}, "taggers.label.keys: found 'a b'"),
        ({"keys": ("",)}, "taggers.label.keys: found ''"),
        ({"fields": ("x'); --",)}, "taggers.label.fields"),
    ],
)
def test_a_wrong_setting_is_refused(settings, said):
    with pytest.raises(ConfigError) as refused:
        Label(**settings).tag(jobs_of({}))
    assert said in str(refused.value)


def test_every_word_of_the_glossary_is_understood():
    found = tags(Label(), jobs_of(*({"labels": {"activity": word}} for word in ACTIVITIES)))
    assert [row[0] for _, row in sorted(found.items())] == list(ACTIVITIES)
    found = tags(Label(), jobs_of(*({"labels": {"stage": word}} for word in STAGES)))
    assert [row[1] for _, row in sorted(found.items())] == list(STAGES)


def test_the_version_changes_with_the_labels_and_the_settings(labelled):
    def version(label):
        return next(iter(tags(label, jobs_of({"labels": {"comment": "purpose=eval"}})).values()))[4]

    text = HEADER + "h100,1,eval,,me\n"
    before = version(labelled(text))
    assert version(labelled(text)) == before
    assert version(labelled(text.replace("eval", "data"))) != before
    assert version(labelled(text, spellings={"x": "other"})) != before
    assert version(Label()) != version(Label(keys=("purpose", "goal")))


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_lists_unknown_words_contradictions_and_labels_without_a_job(labelled):
    jobs = jobs_of(
        {"labels": {"comment": "purpose=evalution"}},
        {"labels": {"comment": "purpose=Evalution, stage=data"}, "gpu_parts": GPU_PARTS},
        {"labels": {"comment": "purpose=eval, purpose=data"}},
        {"labels": {"comment": "purpose=evalution"}, "end_time": None},
        {"labels": {"comment": "purpose=eval"}},
        {"labels": {"comment": "purpose=eval, stage=best"}},
    )
    label = labelled(HEADER + "h100,1,eval,,\nh100,77,eval,,\n,h100/2/5,eval,,\n")
    found = [(f.rule, f.kind, f.matched, f.gpu_hours, f.detail) for f in label.check(jobs)]
    unknown = "unknown word 'evalution'; did you mean 'evaluation'?; no tag"
    assert found == [
        ("label comment", "unknown_spelling", 2, Decimal(8), f"2 jobs say evalution: {unknown}"),
        ("label comment", "unknown_spelling", 1, Decimal(8), "1 job says data and eval: they contradict each other; no tag"),
        (
            "label comment",
            "unknown_spelling",
            1,
            Decimal(8),
            "1 job says eval and stage best: unknown word 'best'; no tag",
        ),
        ("label comment", "unknown_spelling", 1, Decimal(1), f"1 job says evalution and stage data: {unknown}"),
        (
            "labels",
            "unmatched",
            0,
            Decimal(0),
            "2 of 3 labels are of jobs not among these: labels.csv:3: activity 'eval'; labels.csv:4: activity 'eval'",
        ),
    ]
    assert Label().check(jobs_of({})) == ()


# --- anything at all --------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["purpose", "stage", "eval", "data", "sft", "=", ":", ",", ";", " ", '"', "'", "{", "}", "\\", "\n", "*"]
)
TEXTS = st.lists(WORDS | st.text(max_size=3), max_size=12).map("".join).map(lambda text: text.replace("\0", ""))


LABELS_OF_A_JOB = st.dictionaries(st.sampled_from(["activity", "purpose", "comment", "wckey", "stage", "who"]), TEXTS)


@settings(max_examples=25, deadline=None)
@given(st.lists(LABELS_OF_A_JOB, min_size=10, max_size=20))
def test_any_text_in_a_job_gives_a_known_answer_or_none(labels_of_jobs):
    jobs = jobs_of(*({"labels": labels} for labels in labels_of_jobs))
    for activity, stage, confidence, _, _ in tags(Label(), jobs).values():
        assert activity in (*ACTIVITIES, None)
        assert stage in (*STAGES, None)
        assert (activity, stage) != (None, None)
        assert confidence == 1
    assert all(f.kind == "unknown_spelling" for f in Label().check(jobs))


CELLS = st.sampled_from(["h100", "1", "2", "eval", "Final-Training", "sft", "", "x", '"', "'", "\n", "h100/1/1790000001", "😀"])
LINES = st.lists(st.lists(CELLS, min_size=5, max_size=5).map(",".join), max_size=4).map("\n".join)


@settings(max_examples=60, deadline=None)
@given(LINES.map(lambda lines: (HEADER + lines).encode()) | st.binary(max_size=60))
def test_any_bytes_are_labels_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("labels") / "labels.csv"
    file.write_bytes(content)
    try:
        found = tags(Label(path=Location(file)), jobs_of({}, {}))
    except RdspendError as refused:
        assert "labels.csv" in str(refused)
        return
    assert set(found) <= {"h100/1/1790000001", "h100/2/1790000002"}
