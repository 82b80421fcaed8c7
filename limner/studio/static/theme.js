// Before anything is painted: the theme that was chosen last, so that no page flashes in the other one.
try {
  const theme = localStorage.getItem("limner-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
