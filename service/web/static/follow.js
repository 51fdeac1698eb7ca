// New records come in at the top of the table as they are folded, until somebody says pause.
const bar = document.getElementById("follow");
const table = document.getElementById("records");
const MOST_ROWS = 500;
const TELL_MILLISECONDS = 1000;

if (bar && table && "EventSource" in window) start();

function start() {
  const button = bar.querySelector("button");
  const status = bar.querySelector("[role=status]");
  const address = new URL(bar.dataset.source, window.location.href);
  const newer = document.querySelector(".newer");
  let source = null;
  let told = 0;
  let waiting = null;

  bar.hidden = false;
  if (newer) newer.hidden = true;
  button.addEventListener("click", () => {
    const paused = source !== null;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
    if (paused) close("Paused."); else open();
  });
  window.addEventListener("pagehide", () => close(""));
  window.addEventListener("pageshow", (event) => { if (event.persisted && button.getAttribute("aria-pressed") === "false") open(); });
  open();

  function open() {
    source = new EventSource(address);
    source.addEventListener("begun", () => say(told ? `${counted(told)} new. Following.` : "Following: new records appear at the top."));
    source.addEventListener("records", (event) => {
      if (event.lastEventId) address.searchParams.set("after", event.lastEventId);
      const news = JSON.parse(event.data);
      if (news.count) add(news);
    });
    source.addEventListener("error", () => {
      say(source && source.readyState === EventSource.CLOSED ? "Not following any more: load the page again." : "The connection is gone; trying again…");
    });
  }

  function close(text) {
    if (source) source.close();
    source = null;
    say(text);
  }

  function add(news) {
    for (const row of table.querySelectorAll("tr.new")) row.classList.remove("new");
    // The server wrote and escaped it: the same rows as on the page.
    const rows = new DOMParser().parseFromString(`<table><tbody>${news.rows}</tbody></table>`, "text/html").querySelectorAll("tr");
    for (const row of rows) row.classList.add("new");
    table.prepend(...rows);
    while (table.rows.length > MOST_ROWS) table.deleteRow(-1);
    told += news.count;
    // Said once a second at most: somebody may be listening to it.
    waiting ??= setTimeout(() => { waiting = null; if (source) say(`${counted(told)} new. Following.`); }, TELL_MILLISECONDS);
  }

  function counted(count) {
    return `${count.toLocaleString("en")} record${count === 1 ? "" : "s"}`;
  }

  function say(text) {
    status.textContent = text;
  }
}
