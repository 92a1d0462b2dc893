// What a user's script with rally-node does: lists stories, makes a defect, updates it and deletes it.
// The key comes from the library's own variable, RALLY_API_KEY; the server it takes as an option only.
const rally = require('rally');

async function main() {
  const api = rally({ server: process.env.RALLY_SERVER });
  const query = rally.util.query.where('ScheduleState', '=', 'Defined');
  const stories = await api.query({
    type: 'hierarchicalrequirement', query, fetch: ['FormattedID'], pageSize: 3, limit: 7,
  });
  console.log('stories', stories.Results.map((story) => story.FormattedID).join(', '));

  const data = { Name: 'made by rally-node', Severity: 'Cosmetic' };
  const made = await api.create({ type: 'defect', data, fetch: ['FormattedID'] });
  await api.update({ ref: made.Object, data: { State: 'Fixed' } });
  const changed = (await api.get({ ref: made.Object })).Object;
  console.log('defect', changed.FormattedID, changed.Name, changed.State, changed.Project._refObjectName);
  await api.del({ ref: made.Object });
  const left = await api.query({ type: 'defect', query: rally.util.query.where('Name', 'contains', 'rally-node') });
  console.log('left', left.TotalResultCount);
}

main().catch((fault) => {
  console.error(fault.message);
  process.exit(1);
});
