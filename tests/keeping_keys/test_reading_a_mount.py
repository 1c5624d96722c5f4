"""The keys of a folder: read whole, read again when they change, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tidegate_testing.mount import SecretMount

from tidegate_policy.keys import KeyProblem
from tidegate_sidecar.credentials.mounted import MAX_FILES, MAX_KEY_BYTES, Look, MountedKeys

KEY = "sk-canary-11223344556677889900"


def test_the_keys_of_a_mounted_secret_are_found_by_name(tmp_path: Path) -> None:
    mount = SecretMount(tmp_path / "keys", openai=KEY, **{"anthropic.key": "sk-ant\n"})
    keys = MountedKeys(str(mount))
    assert keys.look() is Look.APPLIED
    assert keys.find("openai") == (KEY, "")
    assert keys.find("anthropic.key") == ("sk-ant", "")
    assert keys.names == ("anthropic.key", "openai"), "nothing of the kubelet's own"
    assert keys.look() is Look.SAME


def test_a_plain_folder_does_as_well(tmp_path: Path) -> None:
    (tmp_path / "openai").write_text(KEY)
    keys = MountedKeys(str(tmp_path))
    keys.look()
    assert keys.find("openai") == (KEY, "")


def test_a_swap_changes_all_keys_at_once(tmp_path: Path) -> None:
    mount = SecretMount(tmp_path / "keys", openai="one", anthropic="one")
    keys = MountedKeys(str(mount))
    keys.look()
    mount.write({"openai": "two", "azure": "two"})
    assert keys.find("openai") == ("one", ""), "nothing is read between two looks"
    assert keys.look() is Look.APPLIED
    assert keys.find("openai") == ("two", "")
    assert keys.find("azure") == ("two", "")
    assert keys.find("anthropic") == ("", f"is missing (in {mount}, which has azure, openai)"), (
        "a key that was taken away is not used"
    )


def test_a_key_of_the_same_length_written_in_place_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "openai"
    path.write_text("one")
    keys = MountedKeys(str(tmp_path))
    keys.look()
    os.utime(path, ns=(1, 1))
    keys.look()
    path.write_text("two")
    assert keys.look() is Look.APPLIED
    assert keys.find("openai") == ("two", "")


def test_few_names_are_shown_where_there_are_many(tmp_path: Path) -> None:
    keys = MountedKeys(str(SecretMount(tmp_path / "keys", **{f"key-{number}": KEY for number in range(10)})))
    keys.look()
    (_, problem) = keys.find("openai")
    assert problem.endswith("which has key-0, key-1, key-2, key-3, key-4, key-5, key-6, key-7 and 2 more)")


def test_a_folder_that_comes_later_is_read_then(tmp_path: Path) -> None:
    """An optional Secret that does not exist yet is mounted as an empty folder, and filled when it does."""
    folder = tmp_path / "keys"
    keys = MountedKeys(str(folder))
    assert keys.look() is Look.SAME
    assert keys.find("openai") == ("", f"is missing (in {folder}, which has none)")
    mount = SecretMount(folder)
    keys.look()
    assert len(keys) == 0
    mount.write({"openai": KEY})
    assert keys.look() is Look.APPLIED
    assert keys.find("openai") == (KEY, "")


def test_without_a_folder_it_says_how_to_give_one() -> None:
    text, reason = MountedKeys().find("openai")
    assert text == ""
    assert "TIDEGATE_KEYS_DIR" in reason
    assert "--keys" in reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"sk-1\nsk-2", "holds characters that no header can carry"),
        (b"sk-\x00", "holds characters that no header can carry"),
        ("sk-ü".encode(), "holds characters that no header can carry"),
        (b"\xff\xfe", "holds characters that no header can carry"),
        (b"x" * (MAX_KEY_BYTES + 1), f"is longer than {MAX_KEY_BYTES} bytes"),
        (b"x" * 5_000_000, f"is longer than {MAX_KEY_BYTES} bytes"),
    ],
    ids=["empty", "blank", "two lines", "zero", "umlaut", "no text", "too long", "far too long"],
)
def test_what_is_no_key_is_told_without_its_content(tmp_path: Path, content: bytes, reason: str) -> None:
    mount = SecretMount(tmp_path / "keys", openai=content, good=KEY)
    keys = MountedKeys(str(mount))
    keys.look()
    assert keys.find("openai") == ("", f"{reason} (in {mount})")
    assert keys.find("good") == (KEY, ""), "the others are not concerned"
    assert dict(keys.unusable) == {"openai": reason}


def test_the_longest_key_is_one(tmp_path: Path) -> None:
    mount = SecretMount(tmp_path / "keys", openai=b"x" * MAX_KEY_BYTES)
    keys = MountedKeys(str(mount))
    keys.look()
    assert keys.find("openai") == ("x" * MAX_KEY_BYTES, "")


def test_a_folder_a_pipe_and_a_link_to_nowhere_are_no_keys(tmp_path: Path) -> None:
    """A pipe must not hold up the process until somebody writes into it."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    keys = MountedKeys(str(tmp_path))
    keys.look()
    reasons = {
        name: keys.find(name)[1].removesuffix(f" (in {tmp_path})") for name in ("folder", "pipe", "link")
    }
    assert reasons == {
        "folder": "is a folder, not a file",
        "pipe": "is not a file",
        "link": "cannot be read: No such file or directory",
    }
    (tmp_path / "nowhere").write_text(KEY)
    keys.look()
    assert keys.find("link") == (KEY, "")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..data", "..", ".", "", "a/b"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(KEY)
    mount = SecretMount(tmp_path / "keys", openai=KEY)
    keys = MountedKeys(str(mount))
    keys.look()
    assert keys.find(name)[0] == ""


def test_a_folder_that_cannot_be_read_leaves_the_keys_as_they_are(tmp_path: Path) -> None:
    mount = SecretMount(tmp_path / "keys", openai=KEY)
    keys = MountedKeys(str(mount))
    keys.look()
    mount.folder.rename(tmp_path / "away")
    mount.folder.write_text("a file in its place")
    assert keys.look() is Look.REFUSED
    assert keys.find("openai") == (KEY, "")
    assert keys.find("other") == ("", f"cannot be read: Not a directory (in {mount})")
    mount.folder.unlink()
    (tmp_path / "away").rename(mount.folder)
    assert keys.look() is not Look.REFUSED
    assert keys.problem == ""


def test_a_folder_with_too_many_files_is_not_read(tmp_path: Path) -> None:
    keys = MountedKeys(str(tmp_path))
    (tmp_path / "openai").write_text(KEY)
    keys.look()
    for number in range(MAX_FILES):
        (tmp_path / f"file-{number}").touch()
    assert keys.look() is Look.REFUSED
    assert keys.problem == f"cannot be read: it has more than {MAX_FILES} files"
    assert keys.find("openai") == (KEY, "")


def test_no_representation_shows_a_key(tmp_path: Path) -> None:
    keys = MountedKeys(str(SecretMount(tmp_path / "keys", openai=KEY)))
    keys.look()
    for shown in (repr(keys), str(keys), repr(keys._content), repr(keys._seen)):
        assert KEY not in shown


def test_why_there_is_no_key_is_one_word_for_the_operator(tmp_path: Path) -> None:
    mount = SecretMount(tmp_path / "keys", openai=KEY, empty="\n")
    keys = MountedKeys(str(mount))
    keys.look()
    assert keys.problem_of("openai") is None
    assert keys.problem_of("empty") is KeyProblem.UNUSABLE
    assert keys.problem_of("absent") is KeyProblem.MISSING
    assert MountedKeys().problem_of("openai") is KeyProblem.NOT_MOUNTED
    assert MountedKeys(str(tmp_path / "later")).problem_of("openai") is KeyProblem.MISSING
