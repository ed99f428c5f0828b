// Keeps the part of the page marked with data-live fresh, without moving focus or scroll, and says when it cannot.
"use strict";
(function () {
  const live = document.querySelector("[data-live]");
  const note = document.getElementById("live-note");
  if (!live) return;
  async function refresh() {
    if (document.hidden || live.contains(document.activeElement)) return;
    try {
      const answer = await fetch(live.dataset.live, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.status === 401) { window.location.assign("/signin"); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      live.innerHTML = await answer.text();
      note.textContent = "";
    } catch {
      note.textContent = "The service does not answer; what you see may be old.";
    }
  }
  window.setInterval(refresh, 5000);
})();
