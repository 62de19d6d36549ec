"""Reads prefect.yaml and automations/*.yaml and makes what they say for every biller, before anything is sent.

prefect.yaml is written for one biller (definitions.biller), so that `prefect deploy` understands it too.
A deployment whose parameters name that biller is made once for each biller of the settings: the name is
replaced wherever it stands as a word, a zone other than UTC becomes the biller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

from ops.written import Automation, Deployment, PrefectFile
from tasks.errors import SettingsError
from tasks.nearest import unknown_keys
from tasks.settings import Settings


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; a key written twice is refused. Raises SettingsError."""
    yaml = YAML(typ="safe", pure=True)
    try:
        text = path.read_text("utf-8")
        twice = sorted(set(_keys_written_twice(yaml.compose(text))))
        data = yaml.load(text)
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name}: not readable as YAML: {' '.join(str(error).split())}") from None
    if twice:
        raise SettingsError("\n".join(f"{path.name}: the key {place}" for place in twice))
    if not isinstance(data, dict):
        raise SettingsError(f"{path.name}: must be a mapping of keys")
    return data


def _keys_written_twice(node: Any) -> Iterator[str]:
    """The reader would take the last of two, without a word in a mapping that also merges (`<<`)."""
    if isinstance(node, MappingNode):
        names = [key.value for key, _ in node.value]
        for key, value in node.value:
            if names.count(key.value) > 1:
                yield f"'{key.value}' is written twice, about line {key.start_mark.line + 1}"
            yield from _keys_written_twice(value)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from _keys_written_twice(item)


def read_deployments(path: Path, settings: Settings) -> list[Deployment]:
    """The deployments of the file for all billers. Raises SettingsError with one line for each thing that is wrong."""
    try:
        file = PrefectFile.model_validate(read_yaml(path))
    except ValidationError as error:
        raise SettingsError(unknown_keys(error, PrefectFile, path.name)) from None
    found: list[Deployment] = []
    problems: list[str] = []
    for number, raw in enumerate(file.deployments, start=1):
        try:
            Deployment.model_validate(raw)  # as written, before anything is replaced
            written_for = file.definitions.biller
            found += [Deployment.model_validate(made) for made in _for_billers(raw, written_for, settings)]
        except ValidationError as error:
            where = f"{path.name}, deployment '{raw.get('name', f'number {number}')}'"
            problems.append(unknown_keys(error, Deployment, where))
    names = [deployment.name for deployment in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{path.name}: two deployments are called '{name}'" for name in twice]
    if problems:
        raise SettingsError("\n".join(problems))
    return found


def read_automations(folder: Path) -> list[Automation]:
    """The automation files of a folder, in order of their names. Raises SettingsError as above."""
    found: list[Automation] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found.append(Automation.model_validate(read_yaml(path)))
        except ValidationError as error:
            problems.append(unknown_keys(error, Automation, f"{folder.name}/{path.name}"))
    names = [automation.name for automation in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{folder.name}: two automations are called '{name}'" for name in twice]
    if problems:
        raise SettingsError("\n".join(problems))
    return found


def _for_billers(raw: dict[str, Any], written_for: str, settings: Settings) -> list[dict[str, Any]]:
    """The deployment once per biller if its parameters name one, else once; with the real settings file."""
    if raw.get("parameters", {}).get("biller") != written_for:
        return [_with_settings(raw, settings)]
    made = [_made_for(raw, written_for, name, settings) for name in sorted(settings.billers)]
    return [one for one in made if _has_work(one, settings)]


def _has_work(made: dict[str, Any], settings: Settings) -> bool:
    """A biller without a drop folder, or whom IC does not call, needs no run that looks every few minutes."""
    biller = settings.biller(made["parameters"]["biller"])
    needs = {
        "flows.take_files.take_files": biller.drop_folder,
        "flows.collect_pushes.collect_pushes": biller.inbound,
    }
    return needs.get(made["entrypoint"], made) is not None


def _with_settings(raw: dict[str, Any], settings: Settings) -> dict[str, Any]:
    return {**raw, "parameters": {**raw.get("parameters", {}), "settings_file": str(settings.file)}}


def _made_for(raw: dict[str, Any], written_for: str, biller: str, settings: Settings) -> dict[str, Any]:
    word = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(written_for)}(?![A-Za-z0-9_])")
    made: dict[str, Any] = _with_settings(_replace(raw, word, biller), settings)
    made["entrypoint"] = raw["entrypoint"]
    for schedule in made.get("schedules", []):
        if schedule.get("timezone", "UTC") != "UTC":
            schedule["timezone"] = settings.biller(biller).time_zone
    return made


def _replace(value: Any, word: re.Pattern[str], biller: str) -> Any:
    if isinstance(value, str):
        return word.sub(biller, value)
    if isinstance(value, dict):
        return {key: _replace(item, word, biller) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, word, biller) for item in value]
    return value
