"""What a refusal of S3, KMS or STS means, and what to change: the permission to allow, the setting, the credentials."""

from __future__ import annotations

import re
from typing import Any

THROTTLED = ("SlowDown", "TooManyRequests", "RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled")
DENIED = ("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "Forbidden")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")
UNKNOWN_KEY = ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken")
ELSEWHERE = (
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
)

CREDENTIALS = {
    **dict.fromkeys(
        EXPIRED, "the credentials have expired; take new ones (`aws sso login`, or whatever sets AWS_SESSION_TOKEN)"
    ),
    **dict.fromkeys(UNKNOWN_KEY, "the access key is not known there; check the credentials, s3.profile and s3.endpoint_url"),
    "SignatureDoesNotMatch": "the secret key does not belong to the access key; check the credentials and s3.profile",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
}

# What S3 says of the key that encrypts an object.
KMS = {
    "KMS.DisabledException": "is disabled; enable it",
    "KMS.KMSInvalidStateException": "is being deleted or not ready; cancel the deletion",
    "KMS.NotFoundException": "does not exist any more",
    "KMS.KeyUnavailableException": "can't be reached at the moment; collect again later",
}


def explain(error: Any, bucket: str, key: str, action: str, client: Any) -> str:
    """What is wrong and what to do, of a ClientError or BotoCoreError; `action` is the permission that the request needs."""
    if not hasattr(error, "response"):
        return _unreached(error)
    code, said = _said(error)
    metadata = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; check path, s3.region and s3.endpoint_url"
    if code in ("NoSuchKey", "404"):
        return "there is no such object; check path"
    if code in CREDENTIALS:
        return CREDENTIALS[code]
    if code.startswith("KMS."):
        return f"its KMS key {_kms_key(bucket, key, client)} {KMS.get(code, f'answered {code}: {said}')}"
    if code in DENIED:
        return _denied(said, bucket, key, action, client)
    if code in ELSEWHERE:
        region = error.response.get("Error", {}).get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
        where = f"the bucket is in {region}; set s3.region = {region!r}" if region else f"{said}; check s3.region"
        return f"S3 answered {code}: {where}"
    if code == "InvalidObjectState":
        return "the object is archived; restore it, or keep exports out of the archive by a lifecycle rule"
    if code in THROTTLED or status in (429, 503):
        return f"S3 is throttling ({code}, asked {_asked(metadata)}); it is asked again at the next collect"
    if status >= 500:
        return f"S3 failed ({code}, asked {_asked(metadata)}); it is asked again at the next collect"
    return f"S3 answered {code}: {said}"


def explain_role(error: Any, role_arn: str, external_id: str | None) -> str:
    """Why a role can't be assumed and what to do, of a ClientError."""
    code, said = _said(error)
    if code in CREDENTIALS:
        return f"s3.role_arn: {role_arn} can't be assumed: {CREDENTIALS[code]}"
    if code in ("404", "NoSuchEntity"):
        return f"s3.role_arn: {role_arn} can't be assumed: there is no such role"
    if code not in DENIED:
        return f"s3.role_arn: {role_arn} can't be assumed: {code}: {said}"
    caller = re.search(r"User: (\S+)", said)
    principal = caller[1] if caller else "the caller"
    condition = (
        f"its condition sts:ExternalId is {external_id!r} (s3.external_id)"
        if external_id
        else "it asks for no sts:ExternalId (else set s3.external_id)"
    )
    return (
        f"s3.role_arn: {role_arn} can't be assumed: allow {principal} sts:AssumeRole on {role_arn}, and check that the role's "
        f"trust policy names it as principal and that {condition}"
    )


def _said(error: Any) -> tuple[str, str]:
    """Code and message; the HTTP status as code where the answer has none that can be read."""
    answer = error.response.get("Error", {})
    return answer.get("Code") or str(error.response["ResponseMetadata"]["HTTPStatusCode"]), answer.get("Message") or ""


def _denied(said: str, bucket: str, key: str, action: str, client: Any) -> str:
    if "requester pays" in said.lower():
        return "the one who asks pays for requests to this bucket; set s3.requester_pays = true"
    partition = client.meta.partition
    on = f"arn:{partition}:s3:::{bucket}" + (f"/{key}" if action == "s3:GetObject" else "")
    named = re.search(r"not authorized to perform: ([\w:]+)(?: on resource: \"?([^\s\"]+))?", said)
    if named:
        action, on = named[1], named[2] or on
    if named and "explicit deny" in said:
        return f"S3 denied it: a policy denies {action} on {on} explicitly; {said[said.index('explicit deny') :]}"
    key_id = _kms_key(bucket, key, client) if action in ("s3:GetObject", "kms:Decrypt") and not (named and named[2]) else ""
    if key_id:
        # HEAD, which needs the same permission of S3 and none of KMS, was answered: so it is the key that is refused.
        return f"KMS denied it; allow kms:Decrypt on {key_id} (in the role's policy and in the key's own)"
    if action.startswith("kms:"):
        return f"KMS denied it; allow {action} on {on} (in the role's policy and in the key's own)"
    hint = f"; without s3:ListBucket on arn:{partition}:s3:::{bucket} a missing object is denied too" if key else ""
    return f"S3 denied it; allow {action} on {on}{hint if action == 's3:GetObject' else ''}"


def _kms_key(bucket: str, key: str, client: Any) -> str:
    """The key that encrypts an object, empty where it is none of KMS or HEAD is refused too."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except (BotoCoreError, ClientError):
        return ""
    return str(head.get("SSEKMSKeyId") or "")


def _asked(metadata: dict[str, Any]) -> str:
    times = metadata.get("RetryAttempts", 0) + 1
    return f"{times} times" if times > 1 else "once"


def _unreached(error: Any) -> str:
    """Of a BotoCoreError: nothing was asked, or nothing answered."""
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return f"{error}; give credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, s3.profile, or a role of this machine)"
    if "SSO" in name or "Token" in name:
        return f"{error}; log in again (`aws sso login`)"
    if name == "NoRegionError":
        return f"{error}; set s3.region"
    return f"{error}; check s3.endpoint_url, the network and what lies between"
