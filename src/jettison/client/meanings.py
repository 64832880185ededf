"""What the answers of a registry mean: whether it is one, what it refuses, and what helps."""

import asyncio
from http import HTTPStatus

from jettison.client.answers import describe, error_codes, is_page
from jettison.client.auth import NO_ACCESS, Access
from jettison.client.hints import deletion_hint
from jettison.client.transport import Response, Transport
from jettison.errors import (
    AccessDenied,
    LoginRefused,
    NotARegistry,
    ReadOnly,
    RegistryError,
    RegistryFailing,
    UnexpectedResponse,
    Unreachable,
)

__all__ = ["Meanings"]


class Meanings:
    """Turns the answers of the registry at ``host`` into errors.

    ``product`` is the program that it is, as far as it is known: hints name it. ``confirmed`` is
    its answer to ``GET /v2/``, once it has shown itself to be a registry.
    """

    def __init__(self, host: str, transport: Transport) -> None:
        self._host = host
        self._transport = transport
        self.product = ""
        self.confirmed: Response | None = None
        self._confirming = asyncio.Lock()

    async def confirm(self) -> Response:
        """Return the answer to ``GET /v2/``, requested once, or raise NotARegistry."""
        async with self._confirming:
            if self.confirmed is None:
                self.confirmed = await self._ask_base()
            return self.confirmed

    async def _ask_base(self) -> Response:
        try:
            response = await self._transport.request("GET", "/v2/")
        except RegistryFailing as error:
            raise Unreachable(error.message, hint=error.hint) from None
        if response.foreign:
            there = response.url
            message = (
                f"{self._host} only redirects to {there.scheme}://{there.host_port_subcomponent}"
            )
            hint = f"Use {there.host_port_subcomponent} as the host."
            if there.scheme == "https" and self._transport.origin.scheme == "http":
                hint = f"Use {there.host_port_subcomponent} without --plain-http."
            raise Unreachable(message, hint=hint)
        if response.status == HTTPStatus.FORBIDDEN:
            denied = self.denied(response, NO_ACCESS)
            if isinstance(denied, UnexpectedResponse):
                # Nothing gets through to the registry.
                raise Unreachable(denied.message, hint=denied.hint)
            raise denied
        marked = "Docker-Distribution-Api-Version" in response.headers
        # Some registries leave the mark out; then an empty or a JSON body has to do.
        plain = not response.body.strip() or response.body.lstrip()[:1] == b"{"
        if response.status == HTTPStatus.OK and (marked or (plain and not is_page(response))):
            return response
        raise self._no_registry(f"GET /v2/ is answered with {describe(response)}")

    async def expect_registry(self, response: Response) -> None:
        """Accept a "no" only from a registry: a web server says 404 to everything."""
        if "Docker-Distribution-Api-Version" not in response.headers and not error_codes(response):
            await self.confirm()

    async def unexpected(self, response: Response, access: Access, request: str) -> RegistryError:
        """Return the error of an answer that the specification does not allow."""
        if response.status in {401, 403} or "DENIED" in error_codes(response):
            return self.denied(response, access)
        await self.expect_registry(response)
        message = f"{self._host} answers {request} with {describe(response)}"
        return UnexpectedResponse(message)

    async def write_refused(
        self, response: Response, access: Access, request: str
    ) -> RegistryError:
        """Return the error of a push that was not accepted."""
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            await self.expect_registry(response)
            message = f"{self._host} is read-only: it does not accept a push to {access.repository}"
            message += f" ({describe(response)})"
            hint = deletion_hint(self.product, read_only=True)
            return ReadOnly(message, hint=hint)
        error = await self.unexpected(response, access, request)
        if "MANIFEST_BLOB_UNKNOWN" in error_codes(response):
            error.hint = "Something that the manifest references is not in the repository."
        return error

    async def unreadable(self, response: Response, path: str) -> RegistryError:
        """Return the error of an answer whose body is not what was asked for."""
        await self.confirm()
        what = "a web page" if is_page(response) else "something unreadable"
        message = f"{self._transport.speaker(response)} answers GET {path} with {what}"
        return UnexpectedResponse(message)

    def denied(self, response: Response, access: Access) -> RegistryError:
        """Return the error of a 401 or 403, by who gave it."""
        said = describe(response)
        who = self._transport.speaker(response)
        if who != self._host:
            # A proxy's web page, or another host: the login has nothing to do with it.
            message = f"{who} refuses {response.url.path}: {said}"
            hint = "Check the configuration of that proxy, or ask its operator."
            return UnexpectedResponse(message, hint=hint)
        if response.status == HTTPStatus.UNAUTHORIZED:
            message = f"{self._host} refuses the login for {response.url.path}: {said}"
            return LoginRefused(message, hint=f"Log in again with: jettison login {self._host}")
        login = "with this login" if self._transport.auth.given else "without a login"
        what = "access" if access is NO_ACCESS else f"it to {access}"
        message = f"{self._host} does not allow {what} {login}: {said}"
        hint = f"Use another login (jettison login {self._host}), or ask for the right to do so."
        return AccessDenied(message, hint=hint)

    def _no_registry(self, evidence: str) -> NotARegistry:
        message = f"{self._host} is not a registry: {evidence}"
        return NotARegistry(message, hint="Check host and port.")
