// Light, dark, or as the system has it. Runs before the page is drawn, so that nothing flashes; the choice is remembered.
"use strict";
(() => {
  const KEY = "finwait-theme";
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const load = () => {
    try {
      const kept = localStorage.getItem(KEY);
      return kept === "light" || kept === "dark" ? kept : "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  };
  const save = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // then it is not remembered
    }
  };
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  let theme = load();
  apply(theme);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      button.textContent = `Theme: ${theme}`;
    };
    name();
    button.addEventListener("click", () => {
      theme = NEXT[theme];
      save(theme);
      apply(theme);
      name();
    });
  });
})();
