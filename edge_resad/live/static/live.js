// Keeps the page as the station is: pieces come from the page's program whenever one has changed.
"use strict";

const told = document.getElementById("told");
const lost = document.getElementById("lost");
const station = document.body.dataset.station;
let lastHeard = Date.now();
let pressed = null;  // what is under a finger: were it replaced now, its button would not be pressed
const waiting = new Map();  // pieces that have changed under it

function say(fine, text) {
  told.textContent = text;
  told.className = fine ? "" : "refused";
  told.hidden = !text;
}

function hear(event) {
  lastHeard = Date.now();
  lost.hidden = true;
  document.body.classList.remove("lost");
  if (!event.data) return;
  const news = JSON.parse(event.data);
  if (news.station !== station) {  // another start of the station, or none any more: what can be done has changed
    location.replace(location.pathname);
    return;
  }
  for (const [name, html] of Object.entries(news.pieces)) show(name, html);
  document.body.dataset.shown = Date.now();
}

function show(name, html) {
  const place = document.getElementById(name);
  if (place.contains(pressed)) {
    waiting.set(name, html);
    return;
  }
  const focused = place.contains(document.activeElement) ? document.activeElement.closest("form") : null;
  const action = focused && focused.getAttribute("action");
  place.innerHTML = html;
  if (action) {
    const again = [...place.querySelectorAll("form")].find((form) => form.getAttribute("action") === action);
    if (again) again.querySelector("button").focus();
  }
}

function release() {
  pressed = null;
  for (const [name, html] of waiting) show(name, html);
  waiting.clear();
}

function missing() {
  if (Date.now() - lastHeard < 6000) return;
  lost.hidden = false;
  document.body.classList.add("lost");
}

const source = new EventSource("events");
source.onmessage = hear;
source.addEventListener("beat", () => hear({}));
setInterval(missing, 1000);

let releasing = 0;
document.addEventListener("pointerdown", (event) => {
  pressed = event.target;
  clearTimeout(releasing);
  releasing = setTimeout(release, 10000);  // a finger may leave the page without a word
});
for (const over of ["pointerup", "pointercancel"]) {
  document.addEventListener(over, () => {
    clearTimeout(releasing);
    releasing = setTimeout(release, 100);  // a touch's click comes after it
  });
}

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(new FormData(form)),
    });
    const said = await answer.json();
    say(said.fine, said.text);
    if (said.fine && form.querySelector("input[name=reason]")) form.reset();
  } catch (error) {
    say(false, "The page's program did not answer. Nothing may have happened: look before you try again.");
  } finally {
    button.disabled = false;
  }
});
