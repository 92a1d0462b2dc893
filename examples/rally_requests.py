# Lists ten stories. Run it as: rally-cred exec -- python3 rally_requests.py
import os

import requests

server = os.environ.get("RALLY_BASE_URL", "https://rally1.rallydev.com")
# One request at a time, not a Session: Rally refuses a cookie beside the key.
answer = requests.get(
    f"{server}/slm/webservice/v2.0/hierarchicalrequirement",
    params={"fetch": "FormattedID,Name", "pagesize": 10},
    headers={"ZSESSIONID": os.environ["RALLY_API_KEY"]},
    timeout=30,
)
answer.raise_for_status()
for story in answer.json()["QueryResult"]["Results"]:
    print(story["FormattedID"], story["Name"])
