# Lists ten stories: rally-cred exec -- python3 rally_requests.py
import os
import requests

server = os.environ.get("RALLY_BASE_URL", "https://rally1.rallydev.com")
answer = requests.get(  # not by a Session, which keeps cookies: Rally may refuse one beside the key
    f"{server}/slm/webservice/v2.0/hierarchicalrequirement?fetch=FormattedID,Name&pagesize=10",
    headers={"ZSESSIONID": os.environ["RALLY_API_KEY"]}, timeout=30)
answer.raise_for_status()
for story in answer.json()["QueryResult"]["Results"]:
    print(story["FormattedID"], story["Name"])
