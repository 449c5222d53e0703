"""lineage: final training is what a released model descends from, step by step, and nothing that was not said."""

from __future__ import annotations

from typing import Any

import pytest
from lineages import artifact, claim, claims, job, release, resolved, roles, run, unmatched

from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError
from taggers.lineage import Lineage

BASE = job("1", 0, 10, "torchrun pretrain.py --save /ckpt/base")
SFT = job("2", 20, 30, "accelerate launch sft.py --model_name_or_path /ckpt/base/iter_0005000 --output_dir /ckpt/sft")
RL = job("3", 40, 50, "python -m rl actor.model.path=/ckpt/sft/checkpoint-500 trainer.default_local_dir=/ckpt/rl")
OTHER = job("9", 41, 51, "torchrun pretrain.py --save /ckpt/other")


# --- what a release names ---------------------------------------------------------------------------------------------


def test_a_release_claims_the_job_it_names_and_no_other() -> None:
    assert roles([BASE, OTHER], release("m", claim("job", "9"))) == {"c/9": "run"}


def test_a_job_is_named_by_key_by_id_or_by_the_id_of_its_array() -> None:
    tasks = [job("7_1", 0, 1, array_job_id="7"), job("7_2", 0, 1, array_job_id="7")]
    assert roles([BASE, *tasks], release("m", claim("job", "c/1", "7"))) == {"c/1": "run", "c/7_1": "run", "c/7_2": "run"}


def test_names_are_globs_or_regular_expressions_within_dates_and_owners() -> None:
    jobs = [
        job(str(n), n, n + 1, name=name, user=user)
        for n, (name, user) in enumerate((("sft-a", "u"), ("sft-b", "v"), ("x", "u")))
    ]
    assert roles(jobs, release("m", claim("jobs", "sft-*"))) == {"c/0": "run", "c/1": "run"}
    assert roles(jobs, release("m", claim("jobs", "/^(sft-b|x)$/"))) == {"c/1": "run", "c/2": "run"}
    assert roles(jobs, release("m", claim("jobs", "sft-*", user="v"))) == {"c/1": "run"}
    assert roles(jobs, release("m", claim("jobs", "sft-*", until="2026-10-01T01:00:00+00:00"))) == {"c/0": "run"}
    assert roles(jobs, release("m", claim("jobs", "sft-*", since="2026-10-01T01:00:00+00:00"))) == {"c/1": "run"}


def test_of_a_sweep_the_kept_one_is_a_run_and_what_is_left_out_is_nothing() -> None:
    jobs = [job(str(n), n, n + 1, name=f"sft-{n}") for n in range(4)]
    sweep = claim("jobs", "sft-*", role="sweep", keep=["sft-2"], **{"except": ["3"]})
    assert roles(jobs, release("m", sweep)) == {"c/0": "sweep", "c/1": "sweep", "c/2": "run"}


def test_where_two_claims_name_one_job_the_first_holds() -> None:
    first, second = claim("job", "1", role="failed"), claim("jobs", "job-*")
    assert roles([BASE], release("m", first, second)) == {"c/1": "failed"}
    assert roles([BASE], release("m", second, first)) == {"c/1": "run"}


def test_a_segment_is_claimed_from_and_to_and_the_rest_is_nobodys() -> None:
    part = claim("job", "1", **{"from": "2026-10-01T02:00:00+00:00", "to": "2026-10-01T04:00:00+00:00"})
    assert claims([BASE], release("m", part)) == [("m", "c/1", "run", 2, 4)]
    assert claims([BASE], release("m", part, claim("job", "1", role="lost"))) == [
        ("m", "c/1", "lost", 4, None),
        ("m", "c/1", "lost", None, 2),
        ("m", "c/1", "run", 2, 4),
    ]


def test_a_job_that_started_after_the_release_is_not_behind_it() -> None:
    late = release("m", claim("job", "1", "9"), at=41)
    assert roles([BASE, OTHER], late) == {"c/1": "run"}
    assert unmatched([BASE, OTHER], late) == ["m.toml: job: job '9': no job that started before the release has it"]


def test_each_release_has_its_own_date() -> None:
    two = release("a", claim("job", "9"), at=41), release("b", claim("job", "1"), at=500)
    assert roles([BASE, OTHER], *two) == {"c/1": "run"}
    assert unmatched([BASE, OTHER], *two) == ["m.toml: job: job '9': no job that started before the release has it"]


def test_a_release_without_a_date_or_of_tomorrow_claims_nothing_yet() -> None:
    assert roles([BASE], release("m", claim("job", "1"), at=None)) == {}
    assert roles([BASE], release("m", claim("job", "1"), at=500), now=499) == {}
    assert roles([BASE], release("m", claim("job", "1"), at=500), now=501) == {"c/1": "run"}


def test_the_runs_of_a_withdrawn_release_are_superseded_and_its_data_stays_data() -> None:
    data = job("5", 0, 1, "python gen.py --output /data/x.jsonl")
    user = job("6", 5, 9, "torchrun train.py --train-file /data/x.jsonl --save /ckpt/x")
    gone = release("m", claim("job", "6"), withdrawn_at="2026-11-01 00:00:00+00")
    assert roles([data, user], gone) == {"c/5": "data", "c/6": "superseded"}


def test_an_id_of_two_clusters_is_not_guessed() -> None:
    jobs = [BASE, job("1", 0, 1, cluster="d")]
    (words,) = unmatched(jobs, release("m", claim("job", "1")))
    assert "2 jobs have it: c/1, d/1" in words
    assert roles(jobs, release("m", claim("job", "1"))) == {}
    assert roles(jobs, release("m", claim("job", "1", cluster="d"))) == {"d/1": "run"}


def test_an_id_that_a_cluster_gave_twice_is_not_guessed_but_a_job_that_was_requeued_is_one() -> None:
    again = job("1", 11, 12, key="c/1/again")
    assert roles([BASE, again], release("m", claim("job", "1"))) == {"c/1": "run", "c/1/again": "run"}
    stranger = job("1", 11, 12, key="c/1/again", user="v")
    assert roles([BASE, stranger], release("m", claim("job", "1"))) == {}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("job", "no job that started before the release has it"),
        ("jobs", "no job that started before the release has such a name"),
        ("run", "no tracked run of that id"),
        ("model", "no run is known that wrote it"),
        ("checkpoint", "no job or run is known that wrote it"),
        ("dataset", "no job or run is known that wrote it"),
    ],
)
def test_what_a_release_names_in_vain_is_told(kind: str, words: str) -> None:
    (found,) = unmatched([BASE], release("m", claim(kind, "/nowhere/1")))
    assert words in found
    assert "m.toml" in found


def test_two_sources_may_not_tell_one_release() -> None:
    with pytest.raises(ConfigError, match="release 'm' is told by a and b"):
        roles([BASE], release("m", claim("job", "1"), source="a"), release("m", claim("job", "1"), source="b"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "commit"}, "kind: found 'commit'; expected one of job"),
        ({"role": "hero"}, "role: found 'hero'"),
        ({"stage": "x"}, "stage: found 'x'"),
        ({"of": "1"}, "expected a list of texts"),
        ({"since": "2026-10-01"}, "expected a time with a zone"),
    ],
)
def test_a_claim_that_says_something_else_is_refused_wherever_it_comes_from(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRecord, match=words):
        roles([BASE], release("m", {"kind": "job", "of": ["1"], **wrong}))


# --- the walk back ----------------------------------------------------------------------------------------------------


def test_a_release_comes_to_post_training_and_pre_training_through_checkpoints() -> None:
    assert roles([BASE, SFT, RL, OTHER], release("m", claim("job", "3"))) == {"c/1": "run", "c/2": "run", "c/3": "run"}


def test_the_evidence_has_every_step_and_found_jobs_are_less_sure() -> None:
    with Engine() as engine:
        resolved(engine, [BASE, SFT, RL], release("m", claim("job", "3")))
        found = dict(engine.rows("SELECT job_key, ROW(confidence, evidence) FROM claim"))
    assert found["c/3"] == (1.0, "m.toml: job names job 3")
    assert found["c/2"][0] == found["c/1"][0] == 0.95
    assert found["c/1"][1] == (
        "m.toml: job names job 3; c/3 read c:/ckpt/sft/checkpoint-500 (--actor.model.path), written by c/2 (--output-dir); "
        "c/2 read c:/ckpt/base/iter_0005000 (--model-name-or-path), written by c/1 (--save)"
    )


def test_a_checkpoint_or_a_model_that_is_named_leads_to_who_wrote_it() -> None:
    assert roles([BASE, SFT, OTHER], release("m", claim("checkpoint", "/ckpt/sft/checkpoint-9", stage="finetuning"))) == {
        "c/1": "run",
        "c/2": "run",
    }
    logged = [artifact("r", "write", "models:/m/3", "model")]
    assert roles([BASE, SFT], release("m", claim("model", "m/3")), runs=[run("r", "2")], artifacts=logged) == {
        "c/1": "run",
        "c/2": "run",
    }


def test_a_registered_version_that_names_no_run_leads_through_its_source() -> None:
    version = [artifact(None, "write", "models:/m/3", "model", 60), artifact(None, "write", "/ckpt/sft", "model", 60)]
    assert roles([BASE, SFT], release("m", claim("model", "m/3")), artifacts=version) == {"c/1": "run", "c/2": "run"}


def test_a_merge_has_several_parents() -> None:
    parents = [job(str(n), n, n + 1, f"train --save /ckpt/{n}") for n in range(3)]
    merge = job("m", 10, 11, "python merge.py --models /ckpt/0 /ckpt/2 --output-dir /ckpt/merged")
    assert roles([*parents, merge], release("m", claim("checkpoint", "/ckpt/merged"))) == {
        "c/0": "run",
        "c/2": "run",
        "c/m": "run",
    }


def test_a_restart_chain_is_one_run_in_several_jobs_up_to_the_one_that_is_named() -> None:
    chain = [job(str(n), 10 * n, 10 * n + 9, "pretrain --load /ckpt/x --save /ckpt/x") for n in range(4)]
    assert roles(chain, release("m", claim("job", "2"))) == {"c/0": "run", "c/1": "run", "c/2": "run"}


def test_a_job_that_was_requeued_goes_on_from_itself() -> None:
    runs = [job("1", 10 * n, 10 * n + 9, "pretrain --save /ckpt/x", key=f"c/1/{n}") for n in range(2)]
    assert roles(runs, release("m", claim("checkpoint", "/ckpt/x"))) == {"c/1/0": "run", "c/1/1": "run"}


def test_what_was_written_anew_into_the_same_folder_does_not_descend_from_what_was_there() -> None:
    twice = [job(str(n), 10 * n, 10 * n + 9, "pretrain --save /ckpt/x") for n in range(2)]
    assert roles(twice, release("m", claim("checkpoint", "/ckpt/x"))) == {"c/1": "run"}
    reader = job("5", 9.5, 11, "sft --load /ckpt/x --save /ckpt/y")
    assert roles([*twice, reader], release("m", claim("job", "5"))) == {"c/0": "run", "c/5": "run"}


def test_a_tracked_checkpoint_says_which_of_two_writers_it_was() -> None:
    twice = [job(str(n), 10 * n, 10 * n + 9, "pretrain --save /ckpt/x") for n in range(2)]
    saved = [artifact("r", "write", "/ckpt/x/step-100", at=5)]
    named = release("m", claim("checkpoint", "/ckpt/x/step-100"))
    assert roles(twice, named, runs=[run("r", "0")], artifacts=saved)["c/0"].startswith("run")
    assert "c/1" not in roles(twice, named, runs=[run("r", "0")], artifacts=saved)


def test_a_folder_of_many_peoples_runs_is_no_evidence_for_one_of_them() -> None:
    shared = [job(str(n), n, n + 1, "train --output-dir /data/out") for n in range(3)]
    reader = job("8", 20, 21, "sft --load /data/out/run7/weights --save /ckpt/y")
    assert roles([*shared, reader], release("m", claim("job", "8"))) == {"c/8": "run"}
    alone = [job("1", 0, 1, "torchtitan --job.dump_folder /data/out/run7")]
    assert roles([*alone, reader], release("m", claim("job", "8"))) == {"c/1": "run", "c/8": "run"}


def test_one_path_on_two_clusters_is_two_files_and_an_address_is_one() -> None:
    here, there = BASE, job("1", 0, 10, "pretrain --save /ckpt/base", cluster="d")
    assert roles([here, there, SFT], release("m", claim("job", "2"))) == {"c/1": "run", "c/2": "run"}
    (words,) = unmatched([here, there], release("m", claim("checkpoint", "/ckpt/base")))
    assert "it is there as c:/ckpt/base, d:/ckpt/base; say which `cluster`" in words
    assert roles([here, there], release("m", claim("checkpoint", "/ckpt/base", cluster="d"))) == {"d/1": "run"}
    cloud = [job("1", 0, 1, "pretrain --save s3://b/x", cluster="d"), job("2", 5, 6, "sft --load s3://b/x --save /ckpt/y")]
    assert roles(cloud, release("m", claim("job", "2"))) == {"d/1": "run", "c/2": "run"}


def test_variables_of_a_script_are_put_in_and_unknown_ones_lead_nowhere() -> None:
    script = "#!/bin/bash\nRUN=base\nCKPT=/ckpt/$RUN\nsrun sft --load ${CKPT} --save /ckpt/y"
    known = job("2", 20, 30, script=script)
    unknown = job("2", 20, 30, script=script.replace("RUN=base\n", ""))
    assert roles([BASE, known], release("m", claim("job", "2"))) == {"c/1": "run", "c/2": "run"}
    assert roles([BASE, unknown], release("m", claim("job", "2"))) == {"c/2": "run"}


def test_the_reward_model_of_a_run_is_not_its_ancestor() -> None:
    judge = job("1", 0, 1, "train --save /ckpt/rm")
    user = job("2", 5, 6, "ppo critic.model.path=/ckpt/rm reward_model.model.path=/ckpt/rm trainer.default_local_dir=/ckpt/p")
    assert roles([judge, user], release("m", claim("job", "2"))) == {"c/2": "run"}


def test_a_circle_of_checkpoints_is_an_error_that_names_jobs_and_paths() -> None:
    one = job("1", 0, 10, "train --load /ckpt/b --save /ckpt/a")
    two = job("2", 5, 15, "train --load /ckpt/a --save /ckpt/b")
    with pytest.raises(ConfigError, match=r"c/1 read c:/ckpt/b of c/2") as error:
        roles([one, two], release("m", claim("job", "2")))
    assert "c/2 read c:/ckpt/a of c/1" in str(error.value)


def test_training_in_turns_is_no_circle() -> None:
    turns = [job(str(n), 10 * n, 10 * n + 9, f"train --load /ckpt/{'ab'[n % 2]} --save /ckpt/{'ba'[n % 2]}") for n in range(4)]
    assert roles(turns, release("m", claim("job", "3"))) == {f"c/{n}": "run" for n in range(4)}


# --- tracked runs -----------------------------------------------------------------------------------------------------


def test_a_tracked_run_is_its_job_and_leads_through_runs_that_are_none() -> None:
    runs = [run("r3", "3"), run("between")]
    used = [
        artifact("r3", "read", "models:/a/1", "model"),
        artifact("between", "write", "models:/a/1", "model"),
        artifact("between", "read", "/ckpt/base"),
    ]
    jobs = [BASE, job("3", 40, 50)]
    assert roles(jobs, release("m", claim("run", "r3")), runs=runs, artifacts=used) == {"c/1": "run", "c/3": "run"}


def test_a_run_that_names_no_job_is_the_only_one_of_its_user_and_name_at_that_time() -> None:
    at = {"user": "u", "name": "job-1", "start_time": "2026-10-01 01:00:00+00"}
    assert roles([BASE, OTHER], release("m", claim("run", "r")), runs=[run("r", **at)]) == {"c/1": "run"}
    twin = job("4", 0, 10, name="job-1")
    assert roles([BASE, twin], release("m", claim("run", "r")), runs=[run("r", **at)]) == {}
    assert unmatched([BASE, twin], release("m", claim("run", "r")), runs=[run("r", **at)]) != []


def test_the_run_of_a_requeued_job_is_the_one_that_it_began_in() -> None:
    jobs = [job("1", 0, 9, key="c/1/0"), job("1", 10, 19, key="c/1/1")]
    tracked = [run("r", "1", start_time="2026-10-01 11:00:00+00")]
    assert roles(jobs, release("m", claim("run", "r")), runs=tracked) == {"c/1/1": "run"}


# --- lost work --------------------------------------------------------------------------------------------------------


def test_what_was_rolled_back_is_lost_from_the_checkpoint_on() -> None:
    first = job("1", 0, 10, "pretrain --save /ckpt/x")
    second = job("2", 20, 30, "pretrain --load /ckpt/x --ckpt-step 200 --save /ckpt/x")
    saved = [artifact("r", "write", f"/ckpt/x/step-{n}00", at=2 * n) for n in (1, 2, 3, 4)]
    assert claims([first, second], release("m", claim("job", "2")), runs=[run("r", "1")], artifacts=saved) == [
        ("m", "c/1", "lost", 4, None),
        ("m", "c/1", "run", None, 4),
        ("m", "c/2", "run", None, None),
    ]


def test_a_job_that_was_rolled_back_whole_is_lost_whole() -> None:
    jobs = [job(str(n), 10 * n, 10 * n + 9, "pretrain --load /ckpt/x --save /ckpt/x") for n in range(2)]
    back = job("2", 20, 30, "pretrain --load /ckpt/x --ckpt-step 100 --save /ckpt/x")
    saved = [artifact("r0", "write", "/ckpt/x/step-100", at=5), artifact("r1", "write", "/ckpt/x/step-200", at=15)]
    assert roles([*jobs, back], release("m", claim("job", "2")), runs=[run("r0", "0"), run("r1", "1")], artifacts=saved) == {
        "c/0": "run, lost",
        "c/1": "lost",
        "c/2": "run",
    }


def test_what_a_preempted_job_did_since_it_last_saved_is_lost_and_a_finished_one_lost_nothing() -> None:
    second = job("2", 20, 30, "pretrain --load /ckpt/x --save /ckpt/x")
    saved = [artifact("r", "write", "/ckpt/x/step-100", at=8)]
    more: dict[str, Any] = {"runs": [run("r", "1")], "artifacts": saved}
    for outcome, expected in (("preempted", "run, lost"), ("completed", "run")):
        first = job("1", 0, 10, "pretrain --save /ckpt/x", outcome=outcome)
        assert roles([first, second], release("m", claim("job", "2")), **more) == {"c/1": expected, "c/2": "run"}


def test_training_beyond_the_step_that_was_taken_is_not_behind_the_release() -> None:
    saved = [artifact("r", "write", f"/ckpt/base/iter_{n}", at=n) for n in (4, 8)]
    user = job("2", 20, 30, "sft --load /ckpt/base/iter_4 --save /ckpt/sft")
    assert claims([BASE, user], release("m", claim("job", "2")), runs=[run("r", "1")], artifacts=saved) == [
        ("m", "c/1", "lost", 4, None),
        ("m", "c/1", "run", None, 4),
        ("m", "c/2", "run", None, None),
    ]


def test_an_attempt_that_the_release_calls_failed_stays_failed_where_it_was_rolled_back() -> None:
    first = job("1", 0, 10, "pretrain --save /ckpt/x")
    second = job("2", 20, 30, "pretrain --load /ckpt/x --ckpt-step 100 --save /ckpt/x")
    saved = [artifact("r", "write", "/ckpt/x/step-100", at=2)]
    named = release("m", claim("job", "1", role="failed"), claim("job", "2"))
    assert roles([first, second], named, runs=[run("r", "1")], artifacts=saved) == {"c/1": "failed", "c/2": "run"}


def test_without_the_time_of_a_checkpoint_nothing_is_cut() -> None:
    first = job("1", 0, 10, "pretrain --save /ckpt/x", outcome="preempted")
    second = job("2", 20, 30, "pretrain --load /ckpt/x --ckpt-step 200 --save /ckpt/x")
    assert roles([first, second], release("m", claim("job", "2"))) == {"c/1": "run", "c/2": "run"}


# --- data and evaluations ---------------------------------------------------------------------------------------------


def test_the_jobs_that_made_its_data_are_found_through_what_they_read_in_turn() -> None:
    jobs = [
        job("1", 0, 1, "crawl --output /data/raw/part-1.jsonl"),
        job("2", 0, 1, "crawl --output /data/raw/part-2.jsonl"),
        job("3", 2, 3, "filter --input /data/raw --output /data/clean.jsonl"),
        job("4", 4, 5, "preprocess --input /data/clean.jsonl --output-prefix /data/tok/mix"),
        job("5", 6, 9, "pretrain --data-path 1.0 /data/tok/mix_text_document --save /ckpt/x"),
        job("6", 7, 8, "crawl --output /data/else.jsonl"),
        job("7", 10, 11, "filter --input /data/raw --output /data/clean.jsonl"),
    ]
    assert roles(jobs, release("m", claim("job", "5"))) == {"c/5": "run", **{f"c/{n}": "data" for n in (1, 2, 3, 4)}}


def test_a_dataset_that_is_named_leads_to_who_made_it() -> None:
    maker = job("1", 0, 1, "generate --output /data/synth/v3/a.jsonl")
    assert roles([maker], release("m", claim("dataset", "/data/synth/v3"))) == {"c/1": "data"}
    named = [artifact("r", "write", "synth-v3", "dataset")]
    assert roles([BASE], release("m", claim("dataset", "synth-v3")), runs=[run("r", "1")], artifacts=named) == {"c/1": "data"}


def test_evaluations_read_its_checkpoints_and_write_none() -> None:
    jobs = [
        BASE,
        SFT,
        job("4", 5, 6, "lm_eval --model hf --model_args pretrained=/ckpt/base/iter_100", name="eval-mmlu"),
        job("5", 35, 36, "lm_eval --model hf --model_args pretrained=/ckpt/sft", name="eval-mmlu"),
        job("6", 35, 36, "convert.py --load /ckpt/sft --output_dir /hf/sft"),
        job("7", 35, 36, "lm_eval --model_args pretrained=/ckpt/strange", name="eval-mmlu"),
        job("8", 600, 601, "lm_eval --model_args pretrained=/ckpt/sft", name="eval-mmlu"),
    ]
    assert roles(jobs, release("m", claim("job", "2"))) == {
        "c/1": "run",
        "c/2": "run",
        "c/4": "training_evaluation",
        "c/5": "evaluation",
    }


def test_an_evaluation_that_writes_beside_the_weights_is_no_run() -> None:
    beside = job("4", 35, 36, "lm_eval --model_args pretrained=/ckpt/sft --output_dir /ckpt/sft", name="eval-mmlu")
    assert roles([BASE, SFT, beside], release("m", claim("checkpoint", "/ckpt/sft")))["c/4"] == "evaluation"


# --- several releases, and what the tagger says -----------------------------------------------------------------------

COLUMNS = "job_key, activity, stage, role, release, epoch(segment_start)::BIGINT, epoch(segment_end)::BIGINT, confidence"


def tags(jobs: list[dict[str, Any]], *releases: dict[str, Any], **more: Any) -> list[tuple[Any, ...]]:
    with Engine() as engine:
        resolved(engine, jobs, *releases, **more)
        answers = Lineage().tag(engine.connection.table("every_job"))
        return list(answers.query("a", f"SELECT {COLUMNS} FROM a ORDER BY job_key, segment_start NULLS FIRST").fetchall())


def test_two_releases_may_claim_one_job_and_both_are_said() -> None:
    two = release("a", claim("job", "1")), release("b", claim("job", "1", weight=3))
    assert claims([BASE], *two) == [("a", "c/1", "run", None, None), ("b", "c/1", "run", None, None)]
    with Engine() as engine:
        resolved(engine, [BASE], *two)
        assert engine.rows("SELECT release, weight FROM claim ORDER BY 1") == [("a", 1), ("b", 3)]
    assert tags([BASE], *two) == [("c/1", "final_training", None, "run", "a,b", None, None, 1.0)]


def test_where_releases_differ_the_strongest_role_is_said() -> None:
    gone = release("a", claim("job", "1"), withdrawn_at="2026-11-01 00:00:00+00")
    assert tags([BASE], gone) == [("c/1", "exploration", None, "superseded", "a", None, None, 1.0)]
    assert tags([BASE], gone, release("b", claim("job", "1"))) == [
        ("c/1", "final_training", None, "run", "a,b", None, None, 1.0)
    ]


def test_the_tagger_answers_for_each_segment_without_overlap() -> None:
    part = {"from": "2026-10-01T02:00:00+00:00", "to": "2026-10-01T04:00:00+00:00"}
    found = tags([BASE], release("a", claim("job", "1", **part)), release("b", claim("job", "1", role="failed")))
    start = 1790812800
    assert found == [
        ("c/1", "exploration", None, "failed", "b", None, start + 2 * 3600, 1.0),
        ("c/1", "final_training", None, "run", "a,b", start + 2 * 3600, start + 4 * 3600, 1.0),
        ("c/1", "exploration", None, "failed", "b", start + 4 * 3600, None, 1.0),
    ]


def test_the_tagger_has_no_answer_for_training_that_no_release_claims() -> None:
    assert tags([BASE, SFT], release("a", claim("job", "1", **{"from": "2026-10-02T00:00:00+00:00"}))) == []
