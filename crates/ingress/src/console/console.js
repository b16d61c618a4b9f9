// Reads incidents and the selected timeline again whenever the server says something changed.
// Every text comes from alerts or logs: it is only ever set as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
let selected = location.hash.slice(1);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function select(id) {
  selected = id;
  location.hash = id;
  refresh();
}

function row(incident) {
  const made = element("tr");
  made.tabIndex = 0;
  made.setAttribute("aria-selected", String(incident.id === selected));
  made.append(
    element("td", incident.phase.name.replaceAll("_", " "), `phase ${incident.phase.name}`),
    element("td", incident.severity),
    element("td", incident.title),
    element("td", incident.affected_systems.join(", ")),
    element("td", new Date(incident.opened_at).toLocaleTimeString()),
    element("td", incident.ticket ? `${incident.ticket.key} ${incident.ticket.status}` : ""),
  );
  const open = () => select(incident.id);
  made.addEventListener("click", open);
  made.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
  return made;
}

function entry(item, opened) {
  const made = element("li");
  const seconds = (Date.parse(item.at) - opened) / 1000;
  const what = element("div");
  if (item.detail === undefined) {
    what.textContent = item.summary;
  } else {
    const more = element("details");
    more.append(element("summary", item.summary), element("pre", JSON.stringify(item.detail, null, 2)));
    what.append(more);
  }
  const time = element("time", `${seconds >= 0 ? "+" : ""}${seconds.toFixed(3)} s`);
  time.dateTime = item.at;
  made.append(time, element("span", item.actor, "actor"), what);
  made.dataset.sequence = item.sequence;
  return made;
}

function letterRow(letter) {
  const made = element("tr");
  made.append(
    element("td", String(letter.id)),
    element("td", letter.kind.replaceAll("_", " ")),
    element("td", letter.incident_id),
    element("td", new Date(letter.died_at).toLocaleString()),
    element("td", letter.error),
  );
  made.addEventListener("click", () => select(letter.incident_id));
  return made;
}

async function showLetters() {
  const letters = await read("/api/v1/dead-letters?limit=50");
  byId("letters").replaceChildren(...letters.map(letterRow));
  byId("dead").hidden = letters.length === 0;
}

function roundRow(round) {
  const at = (time) => (time ? new Date(time).toLocaleTimeString() : "never");
  const peer = (one) => `${one.url}: ${[one.alerts ?? "no answer", one.trouble].filter((part) => part != null).join(", ")}`;
  const { missing, gone, suppressed } = round.found;
  const found = `${missing} missing, ${gone} gone, ${suppressed} suppressed`;
  const last = [round.outcome, at(round.last_round_at), round.failure].filter(Boolean).join(", ");
  const made = element("tr");
  made.append(...[round.source, at(round.last_whole_at), last, found].map((text) => element("td", text)));
  const peers = element("td");
  peers.append(...round.alertmanagers.map((one) => element("div", peer(one))));
  made.append(peers);
  return made;
}

async function showRounds() {
  const rounds = await read("/api/v1/reconciliation");
  byId("rounds").replaceChildren(...rounds.map(roundRow));
  byId("asked").hidden = rounds.length === 0;
}

function sourceRow(source) {
  const made = element("tr");
  const ways = source.authentication.map((together) => together.join(" and ").replaceAll("_", " "));
  made.append(
    element("td", source.name),
    element("td", source.kind),
    element("td", source.path),
    source.unauthenticated
      ? element("td", "nothing: anybody may post, and a person decides", "anybody")
      : element("td", ways.join(", or ")),
  );
  return made;
}

function refusalRow(refusal) {
  const made = element("tr");
  made.append(
    element("td", new Date(refusal.minute).toLocaleString()),
    element("td", refusal.source),
    element("td", refusal.reason.replaceAll("_", " ")),
    element("td", String(refusal.count)),
    element("td", refusal.address),
  );
  return made;
}

async function showSources() {
  const sources = await read("/api/v1/sources");
  byId("sources").replaceChildren(...sources.map(sourceRow));
  byId("sources-table").hidden = sources.length === 0;
  byId("no-source").hidden = sources.length > 0;
  const refusals = await read("/api/v1/refusals?limit=20");
  byId("refusals").replaceChildren(...refusals.map(refusalRow));
  byId("refused").hidden = refusals.length === 0;
}

async function showTimeline(incident) {
  const list = byId("timeline");
  if (list.dataset.incident !== incident.id) {
    list.replaceChildren();
    list.dataset.incident = incident.id;
  }
  for (;;) {
    const last = list.lastElementChild ? list.lastElementChild.dataset.sequence : 0;
    const items = await read(`/api/v1/incidents/${incident.id}/timeline?after=${last}`);
    if (items.length === 0) break;
    for (const item of items) list.append(entry(item, Date.parse(incident.opened_at)));
  }
  byId("title").textContent = incident.title;
  const diagnosis = incident.diagnosis ? ` · ${incident.diagnosis.summary}` : "";
  const next = incident.next_step ? ` · next: ${incident.next_step.owner}, ${incident.next_step.step}` : "";
  const until = incident.deadline ? ` by ${new Date(incident.deadline).toLocaleTimeString()}` : "";
  byId("facts").textContent = `${incident.id} · ${incident.phase.name.replaceAll("_", " ")}${diagnosis}${next}${until}`;
  byId("detail").hidden = false;
}

let reading = false;
let again = false;

async function refresh() {
  if (reading) { again = true; return; }
  reading = true;
  try {
    const incidents = await read("/api/v1/incidents?limit=100&shape=summary");
    byId("incidents").replaceChildren(...incidents.map(row));
    byId("empty").hidden = incidents.length > 0;
    const shown = incidents.find((incident) => incident.id === selected) || incidents[0];
    if (shown) await showTimeline(shown);
    await showLetters();
    await showRounds();
  } catch (error) {
    byId("connection").textContent = String(error.message);
  } finally {
    reading = false;
    if (again) { again = false; refresh(); }
  }
}

async function showLinks() {
  for (const [name, url] of Object.entries(await read("/links"))) {
    if (!url || !/^https?:/.test(url)) continue;
    const link = element("a", name);
    link.href = url;
    byId("links").append(link);
  }
}

const source = new EventSource("/events");
source.addEventListener("open", () => { byId("connection").textContent = "live"; refresh(); });
source.addEventListener("change", refresh);
source.addEventListener("error", () => { byId("connection").textContent = "reconnecting"; });
window.addEventListener("hashchange", () => { selected = location.hash.slice(1); refresh(); });
refresh();
// Nothing tells of a refusal, so that a forger keeps no console busy.
const REFUSALS_MS = 10_000;
const lookAtSources = () => showSources().catch((error) => { byId("connection").textContent = String(error.message); });
lookAtSources();
setInterval(lookAtSources, REFUSALS_MS);
showLinks().catch((error) => { byId("connection").textContent = String(error.message); });
// A round that finds nothing changes no incident.
setInterval(() => { showRounds().catch((error) => { byId("connection").textContent = String(error.message); }); }, 10_000);
