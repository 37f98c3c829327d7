// Starts the dashboard again after it has ended: a new tab of the same address.
document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("restart").addEventListener("click", () => window.location.reload());
});
