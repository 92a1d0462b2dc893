# What a user's script with pyral does: lists projects and stories, makes a defect, updates it and deletes it.
# Everything about server and key comes from pyral's own variables: RALLY_SERVER, APIKEY.
import sys

from pyral import Rally, rallyWorkset

server, _, _, apikey, workspace, project = rallyWorkset(sys.argv[1:])
rally = Rally(server, apikey=apikey, workspace=workspace, project=project)

print("subscription", rally.subscriptionName())
print("projects", ", ".join(found.Name for found in rally.getProjects()))
stories = rally.get("Story", fetch="FormattedID,Name,Owner", query='ScheduleState = "Defined"', pagesize=3)
print("stories", ", ".join(story.FormattedID for story in stories))

made = rally.create("Defect", {"Name": "made by pyral", "Severity": "Cosmetic"})
changed = rally.update("Defect", {"FormattedID": made.FormattedID, "State": "Fixed"})
print("defect", changed.FormattedID, changed.Name, changed.State, changed.Project.Name)
print("deleted", rally.delete("Defect", made.FormattedID))
