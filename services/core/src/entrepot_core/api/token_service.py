"""TokenService: who may call the API besides the administrator."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from entrepot.core.v1 import token_service_pb2, token_service_pb2_grpc
from entrepot_core.api.creation_requests import check_request_id
from entrepot_core.api.named_resource import next_token, read_position
from entrepot_core.api.paging import page_size
from entrepot_core.domain.names import user_segment
from entrepot_core.store import api_tokens

if TYPE_CHECKING:
    import grpc

    from entrepot_core.api.creation_requests import CreationRequests
    from entrepot_core.store.api_tokens import ApiTokenRow
    from entrepot_core.store.database import Database
    from entrepot_core.store.secret_key import SecretKey

__all__ = ["TokenService"]

# So that scanners for leaked secrets can tell what they have found.
_PREFIX = "entrepot_"
_SECRET_BYTES = 32


class TokenService(token_service_pb2_grpc.TokenServiceServicer):
    """See token_service.proto. The authenticator lets nobody but the administrator in."""

    def __init__(
        self, database: Database, secret_key: SecretKey, requests: CreationRequests
    ) -> None:
        self._database = database
        self._secret_key = secret_key
        self._requests = requests

    def CreateToken(
        self, request: token_service_pb2.CreateTokenRequest, context: grpc.ServicerContext
    ) -> token_service_pb2.CreateTokenResponse:
        principal = user_segment(request.token.name, "tokens", "", "token.name")
        secret = _PREFIX + self._secret(principal, request.request_id)
        digest = hashlib.sha256(secret.encode()).digest()
        name = f"tokens/{principal}"
        with self._database.transaction() as cursor:
            if self._requests.earlier(cursor, context, request, name):
                row = api_tokens.get(cursor, principal)
                is_shown = api_tokens.find_principal(cursor, digest) == principal
            else:
                row = api_tokens.create(cursor, principal, digest)
                is_shown = True
        token = _message(row)
        if is_shown:
            token.secret = secret
        return token_service_pb2.CreateTokenResponse(token=token)

    def _secret(self, principal: str, request_id: str) -> str:
        """A new secret; the same for the same request, so that none is kept to be told again."""
        if not request_id:
            return secrets.token_urlsafe(_SECRET_BYTES)
        check_request_id(request_id)
        derived = self._secret_key.derive(f"token\n{principal}\n{request_id}")
        return urlsafe_b64encode(derived).decode().rstrip("=")

    def GetToken(
        self, request: token_service_pb2.GetTokenRequest, context: grpc.ServicerContext
    ) -> token_service_pb2.GetTokenResponse:
        with self._database.transaction() as cursor:
            row = api_tokens.get(cursor, _principal(request.name))
        return token_service_pb2.GetTokenResponse(token=_message(row))

    def ListTokens(
        self, request: token_service_pb2.ListTokensRequest, context: grpc.ServicerContext
    ) -> token_service_pb2.ListTokensResponse:
        size = page_size(request.page_size)
        (after,) = read_position(request.page_token, (str,)) or ("",)
        with self._database.transaction() as cursor:
            rows = api_tokens.page(cursor, size + 1, after)
        return token_service_pb2.ListTokensResponse(
            tokens=[_message(row) for row in rows[:size]],
            next_page_token=next_token((rows[size - 1].principal,)) if len(rows) > size else "",
        )

    def DeleteToken(
        self, request: token_service_pb2.DeleteTokenRequest, context: grpc.ServicerContext
    ) -> token_service_pb2.DeleteTokenResponse:
        with self._database.transaction() as cursor:
            api_tokens.revoke(cursor, _principal(request.name))
        return token_service_pb2.DeleteTokenResponse()


def _principal(name: str) -> str:
    return user_segment(name, "tokens", "")


def _message(row: ApiTokenRow) -> token_service_pb2.Token:
    token = token_service_pb2.Token(name=row.name)
    token.create_time.FromDatetime(row.created_at)
    if row.revoked_at is not None:
        token.revoke_time.FromDatetime(row.revoked_at)
    return token
