"""`icflows deploy`: everything is checked first; then Prefect is told what differs, and what is gone is removed.

Run twice, the second run changes nothing. Ours is what has the tag `icflows` and this settings file; a
pause that an operator made (of a deployment, a schedule, an automation) stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ops.deploy_result import DeployResult
from ops.entrypoints import Planned, plan
from ops.prefect_env import LOCAL_API, apply_defaults, server_url
from ops.prefect_file import read_automations, read_deployments
from ops.written import Automation
from tasks.errors import CredentialError, IcflowsError, Stop, Unreachable
from tasks.settings import Settings, load_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def check(
    settings_file: Path | str | None, prefect_file: Path
) -> tuple[Settings, list[Planned], list[Automation]]:
    """Reads settings, prefect.yaml and automations/ beside it; raises SettingsError with all that is wrong."""
    settings = load_settings(settings_file)
    automations = read_automations(prefect_file.parent / "automations")
    return settings, plan(read_deployments(prefect_file, settings), automations, settings), automations


def deploy(settings_file: Path | str | None, prefect_file: Path | str, dry_run: bool = False) -> DeployResult:
    """Makes Prefect hold what the files say. Raises SettingsError before anything is sent; Unreachable."""
    apply_defaults()
    settings, planned, automations = check(settings_file, Path(prefect_file).resolve())
    url = server_url()
    if url is None:
        raise Unreachable(
            f"no Prefect server answers (PREFECT_API_URL, else {LOCAL_API}); start one with `make up`"
        )
    apply_defaults()
    from ops.automations_api import sync_automations
    from ops.deployments_api import prune_deployments, sync_deployments

    result = DeployResult(server=url)
    with _client(url) as client:
        ids = sync_deployments(client, planned, result, dry_run)
        sync_automations(client, planned, automations, ids, result, dry_run)
        prune_deployments(client, str(settings.file), ids, result, dry_run)
    return result


@contextmanager
def _client(url: str) -> Iterator[SyncPrefectClient]:
    """Prefect's client at `url`; its errors in our words."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException, PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL, temporary_settings

    try:
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            yield client
    except PrefectHTTPStatusError as error:
        raise _refused(url, error.response.status_code, error.response.text) from None
    except httpx.HTTPError as error:
        raise Unreachable(
            f"the Prefect server at {url} broke off ({type(error).__name__}); run deploy again"
        ) from None
    except PrefectException as error:
        raise Stop(f"the Prefect server at {url}: {error}", reason="prefect") from None


def _refused(url: str, status: int, text: str) -> IcflowsError:
    if status in (401, 403):
        return CredentialError(f"the Prefect server at {url} wants PREFECT_API_AUTH_STRING (HTTP {status})")
    return Stop(f"the Prefect server at {url} refused (HTTP {status}): {text[:300]}", reason="prefect")
