"""What dies or hangs is back by itself, and what keeps dying is told of: real processes, ``kill -9`` and ``kill -STOP``."""

from __future__ import annotations

import os
import shutil
import signal
import socket

import psutil
import pytest

from lab_assets.home_identity import place_of
from lab_assets.ops.processes import stop
from lab_assets.ops.status import lab_status
from lab_assets.ops.supervision import patience
from lab_assets.ops.supervision.plan import State, plan_path, state_path
from lab_assets.ops.supervision.watch_files import LEADER, STANDBYS, Post
from lab_assets.process_identity import marked
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets_tests.supervision.parts import bring_up, lives, record_of, until, web


def is_back(settings: Settings, name: str, former: int) -> bool:
    record = record_of(settings, name)
    return record.state is State.RUNNING and record.pid != former and lives(record.pid)


def watcher(settings: Settings, name: str) -> int:
    holder = Post(settings.run, name).holder()
    return holder.pid if holder else 0


@pytest.mark.parametrize(("number", "how"), [(signal.SIGKILL, "signal 9 (SIGKILL)"), (signal.SIGSTOP, "it was stopped by a signal")])
def test_a_killed_or_stopped_process_is_back_and_its_neighbour_untouched(home: Settings, number: signal.Signals, how: str) -> None:
    bring_up(home, web(home.home, "first"), web(home.home, "second"))
    first, second = record_of(home, "first").pid, record_of(home, "second").pid
    os.kill(first, number)
    until("the first", lambda: is_back(home, "first", first))
    record = record_of(home, "first")
    assert (record.restarts, record.last_end.startswith(how), record.failing) == (1, True, False)
    assert (record_of(home, "second").pid, record_of(home, "second").restarts) == (second, 0)
    assert not lives(first)


def test_a_process_that_lives_but_does_not_answer_is_replaced(home: Settings) -> None:
    bring_up(home, web(home.home, silence_s=3))
    pid = record_of(home, "web").pid
    (home.home / f"deaf-{record_of(home, 'web').address.rpartition(':')[2]}-{pid}").touch()
    until("another", lambda: is_back(home, "web", pid))
    assert "it did not answer for" in record_of(home, "web").last_end


def test_a_child_that_holds_the_port_of_a_killed_process_is_ended_first(home: Settings) -> None:
    part = web(home.home)
    (home.home / f"child-{part.port}").touch()
    bring_up(home, part)
    pid = record_of(home, "web").pid
    orphans = [each.pid for each in marked(place_of(home), "web") if each.pid != pid]
    assert len(orphans) == 1
    os.kill(pid, signal.SIGKILL)
    until("another", lambda: is_back(home, "web", pid))
    assert not lives(orphans[0])


def test_what_keeps_dying_is_tried_seldom_and_told_of_once(home: Settings) -> None:
    """Five quick ends with waits of 0, 1, 2 and 4 s; then the reason goes, the next 'lab up' has it back at once, and that is told, too."""
    engine = open_database(home)
    part = web(home.home)
    bring_up(home, part)
    (home.home / f"dies-{part.port}").touch()
    os.kill(record_of(home, "web").pid, signal.SIGKILL)
    until("the alert", lambda: record_of(home, "web").failing, 60)
    record = record_of(home, "web")
    assert record.quick_ends == patience.QUICK_ENDS
    assert "last words: no licence" in record.last_end
    (shown,) = [each for each in lab_status(home).components if each.name == "web"]
    assert (shown.state, shown.failing) == (State.DIED, True)
    assert any("web keeps ending" in each and "no licence" in each for each in lab_status(home).problems)
    until("the entry", lambda: AuditLog(engine).entries(action="process.failing"))
    (home.home / f"dies-{part.port}").unlink()
    bring_up(home, part)
    assert record_of(home, "web").state is State.RUNNING
    until("the end of the alert", lambda: not record_of(home, "web").failing)
    until("its entry", lambda: AuditLog(engine).entries(action="process.recovered"))
    assert [each.object for each in AuditLog(engine).entries(action="process.failing")] == ["process:web"]


def test_a_port_that_a_stranger_took_meanwhile_is_named_and_taken_back_when_free(home: Settings) -> None:
    part = web(home.home)
    bring_up(home, part)
    pid = record_of(home, "web").pid
    os.kill(watcher(home, LEADER), signal.SIGSTOP)  # nobody looks for two seconds
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=1)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", part.port or 0))
        stranger.listen()
        until("the reason", lambda: f"port {part.port} of web is in use" in record_of(home, "web").last_end)
        assert "set LAB_WEB_PORT" in record_of(home, "web").last_end
    until("the port", lambda: is_back(home, "web", pid))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_when_the_supervisor_goes_another_takes_its_processes_over(home: Settings, number: signal.Signals) -> None:
    bring_up(home, web(home.home))
    until("the watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    pid, supervisor = record_of(home, "web").pid, watcher(home, LEADER)
    os.kill(supervisor, number)
    until("another supervisor", lambda: watcher(home, LEADER) not in {0, supervisor})
    until("its state", lambda: lab_status(home).up)
    until("three watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    assert (record_of(home, "web").pid, record_of(home, "web").restarts) == (pid, 0)
    os.kill(pid, signal.SIGKILL)
    until("a successor", lambda: is_back(home, "web", pid))


def test_one_watcher_that_is_left_brings_everything_back(home: Settings) -> None:
    """Everything is killed at once, but one of those that wait."""
    bring_up(home, web(home.home, "first"), web(home.home, "second", after=("first",)))
    until("the watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    pids = {name: record_of(home, name).pid for name in ("first", "second")}
    for victim in (watcher(home, LEADER), watcher(home, STANDBYS[0]), *pids.values()):
        os.kill(victim, signal.SIGKILL)
    until("all of it", lambda: lab_status(home).up and all(is_back(home, name, pid) for name, pid in pids.items()))
    until("three watchers", lambda: all(watcher(home, each) for each in STANDBYS))


def test_without_any_watcher_status_says_so_and_up_repairs_it(home: Settings) -> None:
    part = web(home.home)
    bring_up(home, part)
    until("the watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    pid = record_of(home, "web").pid
    for name in (*STANDBYS, LEADER):
        os.kill(watcher(home, name), signal.SIGKILL)
    until("their end", lambda: not any(watcher(home, each) for each in (*STANDBYS, LEADER)))
    answer = lab_status(home)
    assert (answer.up, {each.name: each.state for each in answer.components}["supervisor"]) == (False, State.DIED)
    assert any("nobody restarts what dies" in each for each in answer.problems)
    bring_up(home, part)
    assert (lab_status(home).up, record_of(home, "web").pid) == (True, pid)


def test_a_wish_that_a_power_cut_left_half_written_stands(home: Settings) -> None:
    """Written again by whoever watches; with nobody left, status says so and another 'lab up' repairs it."""
    part = web(home.home)
    bring_up(home, part)
    until("the watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    pid, content = record_of(home, "web").pid, plan_path(home).read_bytes()
    os.truncate(plan_path(home), len(content) // 2)
    until("the wish", lambda: plan_path(home).read_bytes() == content)
    os.truncate(plan_path(home), len(content) // 2)
    os.kill(watcher(home, LEADER), signal.SIGKILL)
    until("another supervisor", lambda: plan_path(home).read_bytes() == content and lab_status(home).up)
    until("three watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    for name in (*STANDBYS, LEADER):
        os.kill(watcher(home, name), signal.SIGKILL)
    until("their end", lambda: not any(watcher(home, each) for each in (*STANDBYS, LEADER)))
    os.truncate(plan_path(home), len(content) // 2)
    assert any("nobody restarts what dies" in each for each in lab_status(home).problems)
    bring_up(home, part)
    assert (lab_status(home).up, lives(pid)) == (True, False)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"place": {"home_'])
def test_a_damaged_state_or_wish_is_written_again_and_nothing_restarted(home: Settings, damage: bytes) -> None:
    bring_up(home, web(home.home))
    until("the watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    before, leader = record_of(home, "web"), watcher(home, LEADER)
    for path in (state_path(home), plan_path(home), *(Post(home.run, each).path for each in (LEADER, *STANDBYS))):
        content = path.read_bytes()
        path.write_bytes(damage)
        until(path.name, lambda path=path, content=content: path.read_bytes() == content, 10)
    assert lab_status(home).problems == []
    assert (record_of(home, "web"), watcher(home, LEADER)) == (before, leader)


def test_a_state_that_is_not_what_was_written_last_is_put_right(home: Settings) -> None:
    """As where a digit of a process number turned over: it still can be read."""
    bring_up(home, web(home.home))
    pid = record_of(home, "web").pid
    state_path(home).write_text(state_path(home).read_text().replace(f'"pid": {pid}', '"pid": 1'))
    until("the number", lambda: record_of(home, "web").pid == pid, 10)


def test_everything_ends_when_the_wish_or_the_home_is_gone(home: Settings) -> None:
    bring_up(home, web(home.home))
    pid = record_of(home, "web").pid
    supervisor = watcher(home, LEADER)
    plan_path(home).unlink()
    until("the end", lambda: not lives(pid) and not lives(supervisor))
    bring_up(home, web(home.home))
    pid, supervisor = record_of(home, "web").pid, watcher(home, LEADER)
    shutil.rmtree(home.home)
    until("the end", lambda: not lives(pid) and not lives(supervisor))


def test_down_ends_what_is_stopped_and_what_nobody_knows_of_any_more(home: Settings) -> None:
    bring_up(home, web(home.home, "first"), web(home.home, "second"))
    pids = [record_of(home, name).pid for name in ("first", "second")]
    until("the watchers", lambda: all(watcher(home, each) for each in STANDBYS))
    os.kill(pids[0], signal.SIGSTOP)
    for name in (*STANDBYS, LEADER):
        os.kill(watcher(home, name), signal.SIGSTOP)
    (home.run / "up.json").unlink()
    plan_path(home).unlink()
    assert sorted(stop(home)) == ["first", "second"]
    assert marked(place_of(home)) == []
    assert not any(map(lives, pids))
