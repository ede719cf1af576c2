// The browser's own slider over a list of values: it has a name and says its value, which those of ipywidgets 8 do not.
function render({ model, el }) {
  const about = model.get("about"), label = document.createElement("label"), range = document.createElement("input");
  const value = document.createElement("output");
  label.style.cssText = "display:inline-flex;align-items:center;gap:8px;font-size:13px;color:var(--jp-ui-font-color1,#23262b)";
  Object.assign(range, { type: "range", min: 0, max: about.options.length - 1, step: 1 });
  range.style.width = "16em";
  range.setAttribute("aria-label", about.name);
  const name = document.createElement("span");
  name.textContent = about.name;
  name.style.cssText = "width:9em;text-align:right";
  const say = () => {
    value.textContent = about.options[range.value];
    range.setAttribute("aria-valuetext", value.textContent);
  };
  const follow = () => { range.value = model.get("index"); say(); };
  range.addEventListener("input", say);
  range.addEventListener("change", () => { model.set("index", Number(range.value)); model.save_changes(); });
  range.addEventListener("keydown", (event) => { // to JupyterLab single keys mean other things
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  label.append(name, range, value);
  el.append(label);
  model.on("change:index", follow);
  follow();
  return () => model.off("change:index", follow);
}

export default { render };
