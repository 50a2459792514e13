"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function operation(path, method, { summary, description, responses }) {
  const rows = Object.entries(responses).map(([status, response]) => {
    const forms = Object.keys(response.content || {}).join(", ");
    return element("tr", "", element("th", status), element("td", response.description), element("td", forms));
  });
  return [
    element("h2", `${method.toUpperCase()} ${path}`),
    element("p", [summary, description].filter(Boolean).join(". ")),
    element("table", "", element("tbody", "", ...rows)),
  ];
}

async function show() {
  const { paths } = await (await fetch("/openapi.json")).json();
  document.getElementById("example").textContent =
    `curl --data-binary @street.jpg -H "Content-Type: image/jpeg" -H "Accept: image/png" \\\n` +
    `  ${location.origin}/v1/models/NAME:segment -o mask.png`;
  const shown = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, details]) => operation(path, method, details)),
  );
  document.getElementById("paths").replaceChildren(...shown);
}

show();
