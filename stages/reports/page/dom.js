"use strict";
// What the other scripts share.  Nothing is ever parsed as HTML: text goes in as text.

const byId = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const minus = (text) => text.replace("-", "−");
