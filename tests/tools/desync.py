"""Makes one JSON file of the cases of http_desync_guardian: python desync.py FOLDER OF ITS YAML FILES.

Each case has its name, its tier, the reason for that, and the head of a request.
"""

import json
import pathlib
import sys

import yaml


def text(value):
    return str(value).encode("latin-1", "backslashreplace").decode("unicode_escape")


cases = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.yaml")):
    for case in yaml.safe_load(path.read_text()):
        head = f"{text(case['method'])} {text(case['uri'])} {text(case['version'])}\r\n"
        for header in case.get("headers") or []:
            head += f"{text(header['name'])}: {text(header['value'])}\r\n"
        expected = case["expected"]
        cases.append({"name": case["name"], "tier": expected["tier"], "reason": expected["reason"], "head": head})
json.dump(cases, sys.stdout, indent=1)
