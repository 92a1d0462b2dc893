#!/usr/bin/env python3
"""Prints a ZSESSIONID, asked of rally-credd as proto/PROTOCOL.md has it: `rally_token.py [PROFILE]`."""
import json, os, pathlib, socket, stat, struct, sys


def socket_path():
    if path := os.environ.get("RALLY_CRED_SOCKET"):
        return pathlib.Path(path)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        return pathlib.Path(runtime, "rally-cred/agent.sock")
    state = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state"
    return pathlib.Path(state, "rally-cred/run/agent.sock")


def ask(request, results):
    path = socket_path()
    folder, above = os.lstat(path.parent), os.stat(path.parent.parent)
    is_ours = stat.S_ISDIR(folder.st_mode) and folder.st_uid == os.geteuid() and not folder.st_mode & 0o077
    # In a folder of somebody else's, or one that they can rename, the socket may be theirs too.
    if not is_ours or above.st_uid not in (0, os.geteuid()) or 0 < above.st_mode & 0o1022 < 0o1000:
        sys.exit(f"the socket folder {path.parent} is not safe")
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.connect(str(path))
        if sys.platform == "linux":  # elsewhere getpeereid, which Python lacks
            _, uid, _ = struct.unpack("iII", daemon.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid not in (0, os.geteuid()):
                sys.exit(f"the socket {path} is not safe: uid {uid} listens there")
        daemon.sendall(json.dumps({"v": 1, **request}).encode() + b"\n")
        for line in daemon.makefile(encoding="utf-8"):
            answer = json.loads(line)
            if answer["type"] in results:  # all others are events
                return answer
    raise ConnectionError("it ended before it answered")


try:
    profile = {"profile": sys.argv[1]} if sys.argv[1:] else {}
    answer = ask({"op": "get", **profile}, ("token", "no_match", "error"))
except OSError as fault:
    sys.exit(f"no rally-cred daemon answers: {fault}\n  try: rally-cred daemon start")
if answer["type"] != "token":
    sys.exit("\n  ".join(answer[part] for part in ("what", "why", "try") if part in answer) or answer["type"])
print(answer["token"])
