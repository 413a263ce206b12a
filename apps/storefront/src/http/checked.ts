/** Parameters of a request. One schema checks them and describes them on the API page. */
import { Body, Param, Query, StandardSchemaValidationPipe } from '@nestjs/common';
import { invalidValue } from '@kvent/key-value-storage';
import type { z } from 'zod';
import { ShopError } from '../problems/shop-error.js';

const valuePipe = new StandardSchemaValidationPipe({ exceptionFactory: invalidValue });

const optionPipe = new StandardSchemaValidationPipe({
  exceptionFactory: (issues) =>
    new ShopError('INVALID_OPTION', 400, 'Invalid option', 'The address is not allowed as it is.', {
      issues: issues.map(({ message, path = [] }) => ({ message, path })),
    }),
});

/** The body; 422 `INVALID_VALUE` with the issues. */
export const CheckedBody = (schema: z.ZodType): ParameterDecorator => Body({ schema, pipes: [valuePipe] });

/** The whole query; 400 `INVALID_OPTION` with the issues. */
export const CheckedQuery = (schema: z.ZodType): ParameterDecorator => Query({ schema, pipes: [optionPipe] });

/** A parameter of the path; 400 `INVALID_OPTION` with the issues. */
export const CheckedParam = (name: string, schema: z.ZodType): ParameterDecorator =>
  Param(name, { schema, pipes: [optionPipe] });
