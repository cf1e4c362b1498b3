// Keeps the page of the lake as the lake is: asks for it again every two seconds while it is seen, and puts what is
// other than before in its place, so that what is being read or scrolled stays.
"use strict";
(() => {
  const live = document.getElementById("live");
  const looked = document.getElementById("looked");
  if (!live) return;
  const lake = looked.textContent;

  const replace = (old, next) => {
    if (old.innerHTML === next.innerHTML) return;
    const regions = [...old.querySelectorAll(".scroll")];
    const places = new Map(regions.map((region) => [region.getAttribute("aria-label"), region.scrollLeft]));
    const focused = regions.find((region) => region === document.activeElement)?.getAttribute("aria-label");
    old.replaceChildren(...next.childNodes);
    for (const region of old.querySelectorAll(".scroll")) {
      const label = region.getAttribute("aria-label");
      region.scrollLeft = places.get(label) ?? 0;
      if (label === focused) region.focus({ preventScroll: true });
    }
  };

  let isAsking = false;
  const look = async () => {
    if (document.hidden || isAsking) return;
    isAsking = true;
    try {
      const answer = await fetch("/", { signal: AbortSignal.timeout(30000) });
      if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const section of live.children) {
        const next = page.getElementById(section.id);
        if (next) replace(section, next);
      }
      looked.textContent = `${lake}, as it was ${new Date().toLocaleTimeString()}`;
      looked.classList.remove("alert");
    } catch (fault) {
      looked.textContent = `The server does not answer: ${fault.message}`;
      looked.classList.add("alert");
    }
    isAsking = false;
  };
  setInterval(look, 2000);
  document.addEventListener("visibilitychange", look);
  look();
})();
