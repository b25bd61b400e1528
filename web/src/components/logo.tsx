/** The mark: a post horn, with its loop. */
export function Logo({ size = 28 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#27368c" />
      <g fill="none" stroke="#ffc447" strokeWidth="2.6" strokeLinecap="round" strokeLinejoin="round">
        <path d="M5.5 12.5h9.5c3.6 0 6 2.3 6 5.2s-2.3 5-5 5-4.8-2-4.8-4.5 1.9-4.4 4.5-4.4" />
        <path d="M15 12.5c4 0 7-1.6 11-5v12c-1.7-1.7-3.2-2.8-5.1-3.4" />
        <path d="M5.5 10.5v4" />
      </g>
    </svg>
  );
}
