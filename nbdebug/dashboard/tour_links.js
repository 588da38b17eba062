// Links between the pages that the tour shows: a click asks the kernel for the other page.
const MARK = "#nbd-page-";

export default {
  render({ model, el }) {
    el.style.display = "none";
    const open = (event) => {
      const tour = el.closest(".nbd-tour");
      const link = event.target.closest?.(`a[href*="${MARK}"]`);
      if (!link || !tour?.contains(link)) return;
      // Before the front end looks for a heading of that name.
      event.preventDefault();
      event.stopPropagation();
      model.send({ page: link.hash.slice(MARK.length) });
      tour.querySelector(".nbd-tour-page").scrollTop = 0;
    };
    document.addEventListener("click", open, true);
    return () => document.removeEventListener("click", open, true);
  },
};
