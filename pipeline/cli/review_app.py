"""Commands of the review application: `review serve`, and the accounts of its users."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.base.errors import PrerequisiteMissing, SettingsError
from pipeline.cli.common import ADMINISTRATION, DAILY, AsJson, counts, emit, opened_store, table, workplace
from pipeline.cli.handoff import delivering
from pipeline.workplace import Workplace, clock_of, now

review_app = typer.Typer(no_args_is_help=True, help="The review application, in which engineers work on cases.")
user_app = typer.Typer(no_args_is_help=True, help="Users of the review application.")

Name = Annotated[str, typer.Argument(help="The user's name.")]
Password = Annotated[
    str, typer.Option(help="At least 10 characters; if left out, you are asked for it.", prompt=True, hide_input=True)
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(review_app, name="review", rich_help_panel=DAILY)
    app.add_typer(user_app, name="user", rich_help_panel=ADMINISTRATION)


@review_app.callback()
def _group() -> None:
    """Make `serve` a command of the group `review`, although it is the only one."""


@review_app.command("serve", epilog="Example: axiswatch review serve --host 0.0.0.0 --port 8090")
def review_serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8090,
    as_json: AsJson = False,
) -> None:
    """Serve the review application over HTTP until it is stopped. Put a proxy with TLS in front of it."""
    needs_review()
    facts = {"address": f"http://{host}:{port}"}
    place = workplace()
    emit(facts, as_json, counts("Serving", facts))
    serve(place, host=host, port=port)


def needs_review() -> None:
    """Check that the libraries of the review application are installed.

    Raises
    ------
    PrerequisiteMissing
        They are not.
    """
    try:
        import review.app
    except ModuleNotFoundError as error:
        raise PrerequisiteMissing(f"{error.name} is missing: pip install 'axiswatch[review]'") from error
    del review


def serve(place: Workplace, *, host: str, port: int) -> None:
    """Serve the review application over a place until it is stopped."""
    from review.app import create_app
    from review.app import serve as step

    app = create_app(place.store, place.lake, place.settings, clock=clock_of(place.settings))
    with delivering(place):
        step(app, host=host, port=port)


@user_app.command("add", epilog="Example: axiswatch user add mara --role reviewer")
def user_add(
    name: Name,
    password: Password,
    role: Annotated[str, typer.Option(help="viewer, reviewer or admin.")] = "viewer",
    as_json: AsJson = False,
) -> None:
    """Add a user: a viewer can only read, a reviewer can also work on cases, an admin has the rights of a reviewer."""
    from pipeline.accounts import add_user

    add_user(opened_store(), name, role, password, at=now())
    facts = {"name": name, "role": role}
    emit(facts, as_json, counts("Added", facts))


@user_app.command("set", epilog="Example: axiswatch user set mara --role admin")
def user_set(
    name: Name,
    role: Annotated[str, typer.Option(help="New role: viewer, reviewer or admin (default: no change).")] = "",
    password: Annotated[str, typer.Option(help="New password (default: no change).")] = "",
    disable: Annotated[bool, typer.Option("--disable", help="The user can no longer log in.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="The user can log in again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change a user; the user then has to log in again."""
    from pipeline.accounts import set_user

    if disable and enable:
        raise SettingsError("--disable and --enable contradict each other; give one of them")
    set_user(opened_store(), name, role=role, password=password, disabled=disable if disable or enable else None)
    facts = {"name": name}
    emit(facts, as_json, counts("Changed", facts))


@user_app.command("list", epilog="Example: axiswatch user list --json")
def user_list(as_json: AsJson = False) -> None:
    """List users and their roles."""
    from pipeline.accounts import list_users

    rows = list_users(opened_store())
    names = ["name", "role", "disabled", "known_at"]
    emit(rows, as_json, lambda: table(names, [[row[name] for name in names] for row in rows]))


@user_app.command("token", epilog="Example: axiswatch user token mara --purpose cmms --days 90")
def user_token(
    name: Name,
    purpose: Annotated[str, typer.Option(help="The program that will use it.")],
    days: Annotated[float, typer.Option(min=0.01, max=3660, help="Number of days for which it is valid.")] = 90,
    role: Annotated[
        str, typer.Option(help="The most it may do: viewer, reviewer or admin (default: as much as the user).")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make a token for a program that acts as a user. It is shown once."""
    from pipeline.accounts import make_token

    token = make_token(opened_store(), name, purpose=purpose, at=now(), days=days, role=role)
    facts = {"token": token}
    emit(facts, as_json, counts("Token", facts))


@user_app.command("tokens", epilog="Example: axiswatch user tokens --json")
def user_tokens(as_json: AsJson = False) -> None:
    """List the tokens of programs: whose they are, what for, what they may do, and until when."""
    from pipeline.accounts import list_tokens

    rows = list_tokens(opened_store())
    names = ["id", "name", "role", "purpose", "expires_at"]
    emit(rows, as_json, lambda: table(names, [[row[name] for name in names] for row in rows]))


@user_app.command("revoke", epilog="Example: axiswatch user revoke 0a1b2c3d4e5f")
def user_revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id, or its beginning.")], as_json: AsJson = False
) -> None:
    """End a token at once."""
    from pipeline.accounts import revoke_token

    revoke_token(opened_store(), token_id)
    facts = {"id": token_id}
    emit(facts, as_json, counts("Revoked", facts))
