// Before anything is drawn: the theme that was chosen here, so that the page does not flash.
try {
  const theme = JSON.parse(localStorage.getItem("dub.theme") ?? '"system"');
  if (theme !== "system") document.documentElement.dataset.theme = theme;
} catch {
  // the system's theme
}
