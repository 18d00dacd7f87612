// What scrolls can be reached by the keyboard; the sidebar's headings have a level.
addEventListener("load", () => {
  for (const element of document.querySelectorAll("pre, .table-wrapper, .content table")) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
  }
  for (const heading of document.querySelectorAll('[role="heading"]:not([aria-level])')) heading.setAttribute("aria-level", "2");
});
