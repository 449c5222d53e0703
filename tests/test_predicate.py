"""The predicate language: what it reads, what it refuses, and that nothing of it reaches SQL unchecked."""

from __future__ import annotations

import time

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdspend.errors import ConfigError
from rdspend.predicate import COLUMNS, FUNCTIONS, LONGEST, LONGEST_PATTERN, check, projection

WHERE = "rules.toml: rule 3 'abl': when"

# The columns of JOBS that predicates read, three jobs: a full one, one of nulls, and a running one.
JOBS = """
    SELECT * FROM (VALUES
      ('full', 'u1', 'nlp', 'llm', 'gpu', 'normal', 'Ablation-7B_Eval', 'sbatch run.sh', 'run.sh', 'vllm:1', '/scratch/a',
       'c1', 'completed', 'H100', 10080, 20160, 96, 4, TIMESTAMPTZ '2026-10-01 23:30:00+00',
       TIMESTAMPTZ '2026-10-02 00:00:00+00', TIMESTAMPTZ '2026-10-02 12:00:00+00', 'a1',
       map(['comment', 'K', 'k'], ['hello', 'big', 'small'])),
      ('nulls', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       'c1', 'cancelled', NULL, 0, NULL, NULL, NULL, TIMESTAMPTZ '2026-10-01 00:00:00+00', NULL, NULL, NULL, NULL),
      ('runs', 'u2', 'cv', NULL, 'gpu', 'low', 'serve', NULL, NULL, NULL, NULL,
       'c2', 'running', 'A100', 161280, 161280, 8, 1, TIMESTAMPTZ '2026-10-01 05:00:00+00',
       TIMESTAMPTZ '2026-10-01 05:00:00+00', NULL, NULL, map(['comment'], ['']))
    ) AS t(job_key, "user", account, project, queue, qos, name, command, script, image, work_dir, cluster, outcome, gpu_type,
           gpu_parts, requested_gpu_parts, cpus, node_count, submit_time, start_time, end_time, array_job_id, labels)
"""


@pytest.fixture(scope="module")
def jobs():
    connection = duckdb.connect(config={"enable_external_access": "false"})
    connection.execute("SET TimeZone = 'Asia/Kolkata'")
    return connection.sql(JOBS)


def true_of(jobs, expression):
    predicate = check(expression, WHERE)
    columns = projection(["name", *predicate.reads])
    return {key for (key,) in jobs.project(f"job_key, {columns}").filter(predicate.sql).project("job_key").fetchall()}


@pytest.mark.parametrize(
    ("expression", "jobs_found"),
    [
        ("name ILIKE '%ablat%' AND gpus < 1", {"full"}),
        ("name LIKE '%ablat%'", set()),
        ("name NOT ILIKE '%ablat%'", {"runs"}),
        ("name IN ('serve', 'x')", {"runs"}),
        ("name NOT IN ('serve', 'x')", {"full"}),
        ("text LIKE '%eval sbatch%'", {"full"}),
        ("text = ' '", {"nulls"}),
        ("gpus = 0.5 AND requested_gpus = 1", {"full"}),
        ("gpus BETWEEN 8 AND 8", {"runs"}),
        ("gpus NOT BETWEEN 0.1 AND 8", {"nulls"}),
        ("cpus / nodes > 10 AND cpus * 2 - 1 = 191 AND -nodes < +0", {"full"}),
        ("hours = 12 AND wait_hours = 0.5", {"full"}),
        ("hours IS NULL AND gpus > 0", {"runs"}),
        ("hour = 23", {"full"}),
        ("hour < 6", {"nulls", "runs"}),
        ("weekday = 4", {"full", "nulls", "runs"}),
        ("weekday BETWEEN 1 AND 5 AND hour >= 22", {"full"}),
        ("name LIKE '%bl%-_B%E_al%'", {"full"}),
        ("name ILIKE '%BL%-7b%e_AL'", {"full"}),
        ("name NOT ILIKE '%bl%-_B%E_al%'", {"runs"}),
        ("name ILIKE '%BL%-7B%EVAL%'", {"full"}),
        ("is_array", {"full"}),
        ("NOT is_array", {"nulls", "runs"}),
        ("is_array = true OR false", {"full"}),
        ("labels['comment'] = 'hello'", {"full"}),
        ("label('comment') IS NOT NULL", {"full", "runs"}),
        ("labels['K'] = 'big' AND labels['k'] = 'small'", {"full"}),
        ("labels['it''s'] IS NULL AND is_array", {"full"}),
        ("coalesce(project, account, '') = 'cv'", {"runs"}),
        ("project IS DISTINCT FROM 'llm'", {"nulls", "runs"}),
        ("\"user\" = 'u1' OR USER = 'u2'", {"full", "runs"}),
        ("length(trim(name)) = 5", {"runs"}),
        ("starts_with(lower(name), 'abl') AND ends_with(name, 'Eval') AND contains(upper(name), '7B')", {"full"}),
        ("regexp_matches(name, '^s.rve$')", {"runs"}),
        ("regexp_matches(name, 'SERVE', 'i')", {"runs"}),
        ("account || '/' || queue = 'nlp/gpu'", {"full"}),
        ("true", {"full", "nulls", "runs"}),
        ("cpus / gpus > 1 -- a job without GPUs is none", {"full"}),
        ("gpus / 0 > 1 OR gpus / 0 <= 1", set()),
        ("1e23 < 99999999999999999999999999", {"full", "nulls", "runs"}),
    ],
)
def test_a_predicate_is_true_of_the_jobs_it_says(jobs, expression, jobs_found):
    assert true_of(jobs, expression) == jobs_found


def test_a_predicate_over_a_null_is_not_true_and_neither_is_its_contrary(jobs):
    assert "nulls" not in true_of(jobs, "name = 'x'") | true_of(jobs, "NOT name = 'x'")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("nme = 'a'", "no column 'nme'; did you mean 'name'?"),
        ("job_key = 'a'", "no column 'job_key' (a column of jobs that predicates don't read)"),
        ("t.name = 'a'", "no column 't.name'"),
        ("array", "write is_array"),
        ("lowr(name) = 'a'", "lowr() is not allowed in a predicate; did you mean 'lower'?"),
        ("gpus LIKE 'x'", "LIKE needs a text, found a number: gpus"),
        ("name = 5", "= needs values of one kind, found name (a text) and 5.0 (a number)"),
        ("name IN ('a', 5)", "IN needs values of one kind"),
        ("gpus + name > 1", "+ needs a number, found a text: name"),
        ("name AND gpus > 1", "AND needs a boolean, found a text: name"),
        ("NOT gpus", "NOT needs a boolean, found a number: gpus"),
        ("labels['x'] > 5", "found labels['x'] (a text) and 5.0 (a number)"),
        ("gpus", "`gpus` is a number; a predicate has to be true or false"),
        ("'true'", "is a text; a predicate has to be true or false"),
        ("name = NULL", "NULL is not allowed in a predicate; a null is found by IS NULL"),
        ("lower(name, name) = 'a'", "lower() takes 1 argument, found 2"),
        ("regexp_matches(name, command)", "has to be a constant in quotes"),
        ("regexp_matches(name, '(')", "missing )"),
        ("regexp_matches(name, '((((a{100}){100}){100}){100})')", "repetition size"),
        ("regexp_matches(name, 'a', 'what')", "Regex option"),
        ("name ~ 'a'", "write regexp_matches"),
        ("instance_type = 'p5'", "no column 'instance_type'; did you mean 'gpu_type'?"),
        ("duration > 3", "no column 'duration'; did you mean 'hours'?"),
        ("submit_line LIKE 'x'", "did you mean 'command'?"),
        ("name LIKE account", "the pattern of LIKE has to be a constant in quotes"),
        ("name ILIKE '%' || user", "the pattern of ILIKE has to be a constant in quotes"),
        (f"name LIKE '{'a' * (LONGEST_PATTERN + 1)}'", f"at most {LONGEST_PATTERN}"),
        (f"regexp_matches(name, '{'a' * (LONGEST_PATTERN + 1)}')", f"at most {LONGEST_PATTERN}"),
        ("name SIMILAR TO 'a'", "regexp_full_match"),
        ("labels.comment = 'a'", "a label is read as labels['key']"),
        ("labels[name] = 'a'", "by a constant key"),
        ("name[1] = 'a'", "only labels['key'] is read by brackets"),
        ("gpus > ", "can't be read"),
        ("gpus > 1, gpus > 2", "expected one expression"),
        ("gpus > 1 AS big", "a name for a column ('big')"),
        ("name LIKE 'a' ESCAPE 'b'", "like_escape() is not allowed"),
        ("CASE WHEN true THEN true END", "CASE is not allowed"),
        ("gpus::VARCHAR = '1'", "a cast is not allowed"),
        ("1e999 > gpus", "a constant that is no text, number, true or false"),
        ("NOT " * 900 + "true", "nested too deeply"),
        ("gpus > 1 OR " * LONGEST + "true", f"a predicate has at most {LONGEST}"),
        ("gpus > 1\0", "NUL"),
    ],
)
def test_a_wrong_predicate_is_refused_with_the_place_the_piece_and_what_is_allowed(expression, said):
    with pytest.raises(ConfigError) as refused:
        check(expression, WHERE)
    assert str(refused.value).startswith(f"{WHERE}: ")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "expression",
    [
        "1=1; DROP TABLE jobs",
        "1=1; SELECT 1",
        "true) FROM jobs; --",
        "true FROM jobs",
        "true WHERE true",
        "true UNION SELECT true",
        "true LIMIT 1",
        "DISTINCT true",
        "(SELECT true)",
        "EXISTS (SELECT 1)",
        "name IN (SELECT name FROM jobs)",
        "gpus = ALL (SELECT 1)",
        "read_csv('/etc/passwd') = 'x'",
        "read_text('/etc/passwd') IS NOT NULL",
        "getenv('HOME') = 'x'",
        "current_setting('home_directory') = 'x'",
        "current_user = 'x'",
        "pg_sleep(1) IS NULL",
        "system.main.lower(name) = 'x'",
        "elsewhere.lower(name) = 'x'",
        "count(*) > 1",
        "sum(gpus) > 1",
        "row_number() OVER () = 1",
        "lower(DISTINCT name) = 'x'",
        "lower(name ORDER BY name) = 'x'",
        "lower(name) FILTER (WHERE true) = 'x'",
        "list_transform([1], lambda x: x) IS NULL",
        "[1] IS NULL",
        "{'a': 1} IS NULL",
        "*",
        "COLUMNS('x') = 'x'",
        "? = 1",
        "$1 = 1",
        "$x = 1",
        "#1 = 1",
        "name COLLATE nocase = 'x'",
        "try(true)",
        "name = ANY (['x'])",
    ],
)
def test_statements_files_settings_and_other_sql_are_refused(expression):
    with pytest.raises(ConfigError):
        check(expression, WHERE)


@pytest.mark.parametrize("constant", ["'; DROP TABLE x; --", '" OR ""=\'', "$$", "\\", "%", "'", "''", "/*", "--", "ü\n\t"])
def test_a_constant_stays_a_constant_whatever_is_in_it(constant):
    quoted = "'" + constant.replace("'", "''") + "'"
    predicate = check(f"name = {quoted} OR labels[{quoted}] = {quoted}", WHERE)
    connection = duckdb.connect()
    connection.execute("CREATE TABLE x AS SELECT ? AS name, map([?], ['other']) AS labels", [constant, constant])
    found = connection.table("x").project(projection(predicate.reads)).filter(predicate.sql).aggregate("count(*)")
    assert found.fetchall() == [(1,)]


def test_a_predicate_says_what_it_reads_and_where_a_null_would_hide_it():
    predicate = check("coalesce(project, account) = 'x' AND qos IS NULL AND labels['k'] = user", WHERE)
    assert predicate.reads == ("project", "account", "qos", "labels['k']", "user")
    assert predicate.unguarded == ("labels['k']", "user")


@pytest.mark.parametrize(
    "expression",
    [
        "regexp_matches(name, '(a+)+$')",
        "regexp_matches(name, '(a|aa)+$')",
        "regexp_matches(name, '^(([a-z])+.)+[A-Z]([a-z])+$')",
        "regexp_matches(name, '(.*a){20}z')",
        "name LIKE '%a_%a_%a_%a_%a_%a_%z%'",
        "name ILIKE '%a%a%a%a%a%a%a%a%z%'",
        "NOT name NOT ILIKE '%a_%a_%a_%a_%a_%z%'",
    ],
)
def test_a_pattern_meant_to_hang_takes_time_linear_in_the_text(expression):
    predicate = check(expression, WHERE)
    connection = duckdb.connect()
    connection.execute("CREATE TABLE job AS SELECT repeat('a', 100000) || 'b' AS name FROM range(2)")
    started = time.process_time()
    assert connection.table("job").filter(predicate.sql).fetchall() == []
    assert time.process_time() - started < 5


LIKES = st.text(alphabet="ab%_\\.ÄßIİ", max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abAB%_\\.äßßIİ\n", max_size=12), LIKES, st.sampled_from(["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"]))
def test_a_pattern_says_the_same_in_either_way_it_is_run(name, pattern, operator):
    connection = duckdb.connect()
    quoted = "'" + pattern.replace("'", "''") + "'"
    job = connection.sql("SELECT CAST(? AS VARCHAR) AS name", params=[name])
    found = job.project(f"{check(f'name {operator} {quoted}', WHERE).sql}, name {operator} {quoted}").fetchall()[0]
    assert found[0] == found[1]


def test_every_column_and_function_is_in_the_grammar(jobs):
    sample = {"text": "'1'", "number": "1", "boolean": "true"}
    for name, column in COLUMNS.items():
        true_of(jobs, f"{name} = {sample[column.kind]}")
    for name, (kinds, needed, kind) in FUNCTIONS.items():
        arguments = ", ".join(sample[k] for k in kinds[:needed])
        true_of(jobs, f"{name}({arguments}) = {sample[kind]}")


PIECES = [*COLUMNS, *FUNCTIONS, "coalesce", "labels", "label", "AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "BETWEEN", "IS"]
PIECES += ["NULL", "true", "'a'", "'%'", "1", "0.5", "1e3", "(", ")", "[", "]", ",", "=", "<>", "<", ">=", "+", "-", "*", "/"]
PIECES += ["||", "::", ";", "SELECT", "FROM", "CASE", "WHEN", "END", "?", "~", ".", '"', "'", "--", "/*", "x", "E'\\''", "$$"]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join), st.text(max_size=40)))
def test_any_text_is_refused_or_runs(jobs, text):
    try:
        predicate = check(text, WHERE)
    except ConfigError as refused:
        assert str(refused).startswith(WHERE)
        return
    # The expression comes first: whatever it holds, it is one boolean.
    columns = projection(predicate.reads) or "1 AS none"
    relation = jobs.project(columns).project(f"{predicate.sql} AS answer")
    assert [str(t) for t in relation.types] == ["BOOLEAN"]
    assert len(relation.fetchall()) == 3


OPERANDS = st.sampled_from(["gpus", "hours", "nodes", "1", "0", "1e308", "length(name)", "-cpus"])
NUMBERS = st.recursive(OPERANDS, lambda n: st.builds("({} {} {})".format, n, st.sampled_from("+-*/"), n), max_leaves=6)


@settings(max_examples=100, deadline=None)
@given(NUMBERS, NUMBERS, st.sampled_from(["=", "<", ">=", "IS DISTINCT FROM"]))
def test_no_arithmetic_stops_a_run(jobs, left, right, operator):
    assert true_of(jobs, f"{left} {operator} {right}") <= {"full", "nulls", "runs"}
