"""Finding tasks by a filter: every page is right, in order, and the pages together are the whole answer."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_desktop.backend.core.instructions import ReadDelayed, ReadReady
from taskmaster_desktop.backend.model import TaskFilter, TaskOptions, TaskRecord, TaskState
from taskmaster_desktop.backend.store import OpenedStore, open_store
from taskmaster_desktop.backend.store.selecting import Selection
from tests.helpers.store_rows import NOW_US, Book

TAGS = ("red", "green", "blue")


def matches(book: Book, chosen: TaskFilter, row: TaskRecord) -> bool:
    """The meaning of a filter, said plainly."""
    return all((
        not chosen.states or row.state in chosen.states,
        chosen.batch is None or row.batch == chosen.batch,
        chosen.tag is None or chosen.tag in book.batches[row.batch].options.tags,
        chosen.worker is None or row.worker == chosen.worker,
        not chosen.text or chosen.text.lower() in row.command.lower(),
        not chosen.dead_letters or (row.state is TaskState.FAILED and not row.discarded),
    ))  # fmt: skip


def fill(book: Book) -> None:
    """Some hundred tasks in all states, on three workers, of batches small and large, some tagged."""
    for index in range(40):
        tags = tuple(tag for place, tag in enumerate(TAGS) if index % (place + 2) == 0)
        size = 1 if index % 4 else 12
        works = [(f"job {index}-{n} {'100%_done' if n % 3 else 'Plain'}", False) for n in range(size)]
        book.submit(size, TaskOptions(tags=tags), works=works, due_us=NOW_US if index % 7 == 0 else 0)
    for number in list(book.rows):
        kind = number % 11
        if kind in (0, 1, 2):
            book.live(number, worker=number % 3 + 1)
        elif kind == 3:
            book.live(number, TaskState.FAILED, worker=number % 3 + 1)
        elif kind == 4:
            book.live(number, TaskState.FAILED, worker=2)
            book.apply(book.put(number, discarded=True))
        elif kind == 5:
            book.apply(book.put(number, state=TaskState.CANCELLED, finished_us=NOW_US))
        elif kind == 6:
            book.apply(book.assigned(number, worker=number % 3 + 1))
        elif kind == 7:
            # A second attempt, on another worker.
            book.live(number, TaskState.FAILED, worker=1)
            book.apply(book.put(number, state=TaskState.PENDING))
            book.live(number, worker=3)


@pytest.fixture(scope="module", params=["sqlite"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    folder = tmp_path_factory.mktemp(request.param)
    opened: OpenedStore = open_store(folder)
    opened.store.begin_epoch()
    book = Book(opened)
    fill(book)
    yield book
    opened.close()
    shutil.rmtree(folder)


filters = st.builds(
    TaskFilter,
    states=st.frozensets(st.sampled_from(TaskState), max_size=4),
    batch=st.none() | st.none() | st.integers(1, 42),
    tag=st.none() | st.sampled_from((*TAGS, "none")),
    worker=st.none() | st.integers(1, 4),
    text=st.none() | st.sampled_from(("", "JOB 1", "plain", "0%_d", "%", "_", "/", "nothing")),
    dead_letters=st.booleans(),
)


@settings(max_examples=150)
@given(
    chosen=filters,
    newest_first=st.booleans(),
    limit=st.sampled_from((2, 10, 1000)),
    scan=st.sampled_from((2, 30, 50_000)),
)
def test_pages_joined_are_the_filtered_list(
    filled: Book, chosen: TaskFilter, newest_first: bool, limit: int, scan: int
) -> None:
    expected = [number for number, row in filled.rows.items() if matches(filled, chosen, row)]
    expected.sort(reverse=newest_first)
    found: list[int] = []
    after: int | None = None
    with filled.opened.dialect.readers.connect() as connection:
        selection = Selection(connection=connection, chosen=chosen, newest_first=newest_first, scan=scan)
        while True:
            page = selection.page(after, limit)
            assert len(page.rows) <= limit
            found += [row[0] for row in page.rows]
            if page.stop is None:
                break
            assert after is None or (page.stop < after if newest_first else page.stop > after)
            after = page.stop
    assert found == expected


@settings(max_examples=60)
@given(chosen=filters, after=st.integers(0, 200), limit=st.integers(1, 50))
def test_numbers_are_found_exactly(filled: Book, chosen: TaskFilter, after: int, limit: int) -> None:
    expected = [n for n, row in filled.rows.items() if n > after and matches(filled, chosen, row)]
    assert list(filled.store.find_numbers(chosen, after, limit)) == expected[:limit]


def test_a_page_carries_whole_rows_and_says_where_to_go_on(filled: Book) -> None:
    page = filled.query.tasks(TaskFilter(), after=None, limit=5, newest_first=False)
    assert page.tasks == tuple(filled.rows[number] for number in range(1, 6))
    assert page.next_after == 5
    last = max(filled.rows)
    page = filled.query.tasks(TaskFilter(), after=6, limit=5, newest_first=True)
    assert [task.number for task in page.tasks] == [5, 4, 3, 2, 1]
    assert page.next_after is None
    page = filled.query.tasks(TaskFilter(), after=last, limit=5, newest_first=False)
    assert page.tasks == ()
    assert page.next_after is None


def test_a_text_search_looks_at_a_bounded_slice(filled: Book) -> None:
    chosen = TaskFilter(text="nothing like it")
    with filled.opened.dialect.readers.connect() as connection:
        page = Selection(connection=connection, chosen=chosen, scan=50).page(None, 10)
    assert page.rows == []
    assert page.stop == 50


def plans(connection: sa.Connection, reads: Callable[[], object]) -> Iterator[tuple[str, list[str]]]:
    """Each SELECT that `reads` runs on this connection, with the steps that the database takes for it."""
    statements: list[str] = []
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_trace_callback(statements.append)
    reads()
    driver.set_trace_callback(None)
    for statement in statements:
        if statement.startswith("SELECT"):
            yield statement, [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}")]


def test_no_query_sorts_or_walks_a_table_unbounded(filled: Book) -> None:
    with filled.opened.dialect.readers.connect() as connection:

        def reads() -> None:
            for states in ({TaskState.FAILED}, {TaskState.ASSIGNED, TaskState.CANCELLED}, set(TaskState)):
                for worker in (None, 1):
                    chosen = TaskFilter(states=frozenset(states), worker=worker, tag="red")
                    Selection(connection=connection, chosen=chosen).page(3, 10)

        taken = list(plans(connection, reads))
    assert taken
    for statement, steps in taken:
        for step in steps:
            assert "TEMP B-TREE" not in step, (statement, steps)
            assert not step.startswith("SCAN tasks") or "USING" in step, (statement, steps)


def test_a_refill_starts_where_the_last_one_ended(filled: Book) -> None:
    connection = filled.store._connection
    assert connection is not None

    def reads() -> None:
        filled.store.read_ready(ReadReady(after=(0, 50), limit=10))
        filled.store.read_delayed(ReadDelayed(after=(NOW_US, 2), limit=10))

    steps = [plan[0] for statement, plan in plans(connection, reads) if "FROM tasks" in statement]
    assert "SEARCH tasks USING INDEX ix_tasks_ready (rank=? AND number>?)" in steps
    assert "SEARCH tasks USING INDEX ix_tasks_delayed (due_us=? AND number>?)" in steps
    assert all("INDEX ix_tasks" in step for step in steps)
