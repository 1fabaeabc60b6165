// Texts as the server counts and judges them.

/** How many characters a text has: code points, where `length` counts UTF-16 units. */
export const count = (text) => [...text].length;

/** Whether a text says something: anything but spaces and what is invisible. */
export const says = (text) => /[^\s\p{Default_Ignorable_Code_Point}\u2800]/u.test(text);

/** The handle in a field; null when there is none, which the field then explains. */
export function handleIn(field) {
  const handle = field.value.trim().toLowerCase().replace(/^@/, "");
  field.setCustomValidity(/^[a-z0-9_]{3,30}$/.test(handle) ? "" : "A handle is 3 to 30 of a–z, 0–9 and _.");
  return field.reportValidity() ? handle : null;
}

/** Keeps what is typed or pasted into a field to `most` characters. `maxlength` counts otherwise, and cuts emoji in two. */
export function atMost(field, most) {
  field.addEventListener("input", () => {
    const characters = [...field.value];
    if (characters.length <= most) return;
    const at = field.selectionStart;
    field.value = characters.slice(0, most).join("");
    field.setSelectionRange(at, at);
  });
  return field;
}
