"""Vault's Python client drives the seal of a shamir server: every call of hvac's system backend about it."""

import base64
import sys

import hvac
import urllib3

urllib3.disable_warnings()
client = hvac.Client(url=sys.argv[1], verify=False)
sys_ = client.sys

assert sys_.read_health_status(method="HEAD").status_code == 501
assert sys_.is_initialized() is False
assert sys_.read_init_status() == {"initialized": False}
result = sys_.initialize(secret_shares=3, secret_threshold=2)
keys, root = result["keys"], result["root_token"]
assert len(keys) == 3 and [base64.b64decode(key).hex() for key in result["keys_base64"]] == keys
assert sys_.is_initialized() and sys_.is_sealed()
try:
    sys_.initialize(secret_shares=1, secret_threshold=1)
    raise AssertionError("initialised twice")
except hvac.exceptions.InvalidRequest as error:
    assert "Vault is already initialized" in str(error)
assert sys_.read_health_status(method="HEAD").status_code == 503
assert sys_.read_health_status(method="GET", sealed_code=299).status_code == 299

status = sys_.submit_unseal_key(keys[0])
assert (status["sealed"], status["progress"], status["t"], status["n"]) == (True, 1, 2, 3)
status = sys_.submit_unseal_key(reset=True)
assert status["progress"] == 0
try:
    sys_.submit_unseal_key("00" * 33)
    raise AssertionError("a wrong key was taken")
except hvac.exceptions.InvalidRequest:
    pass
try:
    client.token = root
    sys_.list_mounted_secrets_engines()
    raise AssertionError("answered while sealed")
except hvac.exceptions.VaultDown as error:
    assert "Vault is sealed" in str(error)
assert sys_.submit_unseal_keys(keys)["sealed"] is False
assert sys_.read_seal_status()["type"] == "shamir"
assert sys_.read_leader_status()["ha_enabled"] is False
assert sys_.read_health_status(method="HEAD").status_code == 200
assert client.is_authenticated()

sys_.seal()
assert sys_.is_sealed()
assert sys_.submit_unseal_keys(keys[1:])["sealed"] is False

assert sys_.get_encryption_key_status()["data"]["term"] == 1
sys_.rotate_encryption_key()
assert sys_.get_encryption_key_status()["data"]["term"] == 2

assert sys_.read_rekey_progress()["started"] is False
started = sys_.start_rekey(secret_shares=1, secret_threshold=1)
assert started["started"] and started["required"] == 2
sys_.cancel_rekey()
assert sys_.read_rekey_progress()["started"] is False
started = sys_.start_rekey(secret_shares=5, secret_threshold=3, require_verification=True)
done = sys_.rekey_multi(keys, nonce=started["nonce"])
assert done["complete"] and done["verification_required"]
new, nonce = done["keys"], done["verification_nonce"]
assert len(new) == 5
assert sys_.read_rekey_verify_progress()["t"] == 3
assert sys_.rekey_verify(new[0], nonce)["progress"] == 1
assert sys_.cancel_rekey_verify()["progress"] == 0
assert sys_.rekey_verify_multi(new, nonce)["complete"]
sys_.seal()
try:
    sys_.submit_unseal_keys(keys)
    raise AssertionError("old keys were taken")
except hvac.exceptions.InvalidRequest:
    pass
assert sys_.submit_unseal_keys(new)["sealed"] is False

otp = sys_.start_root_token_generation()["otp"]
sys_.cancel_root_generation()
assert sys_.read_root_generation_progress()["started"] is False
attempt = sys_.start_root_token_generation()
otp, nonce = attempt["otp"], attempt["nonce"]
for key in new[2:]:
    progress = sys_.generate_root(key, nonce)
assert progress["complete"]
encoded = progress["encoded_root_token"]
veiled = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
token = bytes(one ^ other for one, other in zip(veiled, otp.encode())).decode()
client.token = token
assert client.lookup_token()["data"]["policies"] == ["root"]
client.logout(revoke_token=True)
client.token = token
assert not client.is_authenticated()
print("done")
